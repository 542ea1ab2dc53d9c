import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sslx.queries.choosers import PLANS, refined
from sslx.types import UserError

ROOT = Path(__file__).parents[2]
# Images of each of five clusters far apart, and what they are asked for.
SIZES = (40, 40, 40, 40, 3)


def pool(seed=0, width=7):
    """Features (pool, d) and the cluster of each row, in an order that mixes them."""
    random = np.random.default_rng(seed)
    cluster = random.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    centres = 20 * random.normal(size=(len(SIZES), width))
    x = centres[cluster] + random.normal(size=(len(cluster), width))
    # Of very different scales, as features are: k-means must not see only one column.
    return (x * np.logspace(-3, 3, width)).astype(np.float32), cluster


def choose(name, count, seed=0, free=None, features=None, **numbers):
    if features is None:
        features = pool()[0]
    free = np.arange(len(features)) if free is None else free
    random = np.random.default_rng(seed)
    if not PLANS[name].needs_features:
        features = None
    return PLANS[name].choose(random, free, count, features, **numbers)


NUMBERS = {"random": {}, "kmeans": {"clusters": 5}, "narrow": {"clusters": 5}}


@pytest.mark.parametrize("name", PLANS)
def test_only_free_images_each_once(name):
    # Catches rows of `free` mistaken for rows of the pool, and images asked twice.
    free = np.random.default_rng(1).permutation(163)[:60]
    rows = choose(name, 45, free=free, **NUMBERS[name])
    assert rows.dtype == np.int64 and len(rows) == len(set(rows)) == 45
    assert set(rows) <= set(free)
    assert set(choose(name, 60, free=free, **NUMBERS[name])) == set(free)


@pytest.mark.parametrize("name", PLANS)
def test_a_smaller_budget_asks_a_subset(name):
    # Catches sweeps over budgets that do not compare like with like.
    large = choose(name, 100, **NUMBERS[name])
    for count in (5, 6, 63):
        assert np.array_equal(choose(name, count, **NUMBERS[name]), large[:count])
    other = choose(name, 100, seed=1, **NUMBERS[name])
    assert set(other) != set(large) or name == "kmeans"  # there the images decide


def test_kmeans_asks_equally_many_of_each_cluster():
    # Catches shares by size of a cluster, a cluster left out, features that are not
    # standardised, a short cluster that is not made up for.
    _, cluster = pool()
    for count, expected in (
        (5, [1, 1, 1, 1, 1]),
        (15, [3, 3, 3, 3, 3]),
        (43, [10, 10, 10, 10, 3]),
        (163, list(SIZES)),
    ):
        rows = choose("kmeans", count, clusters=5)
        assert np.bincount(cluster[rows], minlength=5).tolist() == expected, count


def test_kmeans_asks_the_nearest_to_the_centre_first():
    # Catches the farthest first, and distances to another cluster's centre.
    features, cluster = pool()
    rows = choose("kmeans", 163, clusters=5)
    scaled = (features - features.mean(0)) / features.std(0)
    for c in range(4):  # those with enough images
        own = rows[cluster[rows] == c]
        centre = scaled[cluster == c].mean(0)
        distance = np.linalg.norm(scaled[own] - centre, axis=1)
        assert distance[:3].mean() < 0.8 * distance[-3:].mean()


def test_kmeans_with_fewer_images_than_clusters():
    # Catches clusters that get no image while others get two, and more clusters than
    # there are images.
    _, cluster = pool()
    rows = choose("kmeans", 5, clusters=50)
    assert sorted(cluster[rows]) == [0, 1, 2, 3, 4]
    assert len(choose("kmeans", 5, free=np.arange(9), clusters=50)) == 5


CALL = """
import sys, numpy as np
from sslx.queries.choosers import PLANS
x = np.random.default_rng(0).normal(size=(5000, 24)).astype("f4")
rows = PLANS["kmeans"].choose(
    np.random.default_rng(3), np.arange(5000), 600, x, clusters=12
)
print(rows.tolist())
"""


def test_the_same_plan_in_another_process():
    # Catches chance that is not the seed's, and sums that follow the thread count.
    x = np.random.default_rng(0).normal(size=(5000, 24)).astype("f4")
    rows = choose("kmeans", 600, seed=3, features=x, clusters=12)
    assert np.array_equal(rows, choose("kmeans", 600, seed=3, features=x, clusters=12))
    other = choose("kmeans", 600, seed=4, features=x, clusters=12)
    assert not np.array_equal(rows, other)
    said = subprocess.run(
        [sys.executable, "-c", CALL],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == str(rows.tolist())


def test_features_that_never_vary_do_not_count():
    # Catches division by zero, and rounding noise blown up to a feature.
    features, _ = pool()
    noise = np.random.default_rng(2).integers(-1, 2, (len(features), 40))
    dead = np.concatenate([1 + 1e-7 * noise, np.zeros_like(noise)], 1)
    with_dead = np.concatenate([features, dead.astype(np.float32)], 1)
    rows = choose("kmeans", 43, features=with_dead, clusters=5)
    assert np.array_equal(rows, choose("kmeans", 43, clusters=5))


def linear_victim(features, k, seed=5):
    random = np.random.default_rng(seed)
    weights = random.normal(size=(features.shape[1], k))
    return (features @ weights + 3 * random.normal(size=k)).astype(np.float32)


@pytest.mark.parametrize("n", [60, 9])
def test_refined_finds_a_linear_victim(n):
    # Catches a constant that is lost, answers laid to the wrong rows, scales undone.
    features = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    features = features * np.logspace(-2, 2, 6).astype(np.float32) + 5
    answers = linear_victim(features, 4)
    asked = np.random.default_rng(1).permutation(200)[:n]
    found = refined(features, asked, answers[asked], ridge=1e-9)
    assert found.dtype == np.float32 and found.shape == (200, 4)
    np.testing.assert_allclose(found, answers, rtol=1e-3, atol=1e-3)
    # The ridge weighs against the mean over images: twice the same images change
    # nothing, and an endless one leaves the mean of the answers.
    twice = np.concatenate([asked, asked])
    damped = refined(features, asked, answers[asked], ridge=0.5)
    np.testing.assert_allclose(
        refined(features, twice, answers[twice], ridge=0.5), damped, rtol=1e-4
    )
    assert np.abs(damped - answers).max() > 0.1
    flat = refined(features, asked, answers[asked], ridge=1e12)
    np.testing.assert_allclose(flat, np.tile(answers[asked].mean(0), (200, 1)), 1e-3)


def test_the_next_round_follows_the_victim():
    # Catches a second round that clusters the attacker's features and not the answers:
    # the victim tells apart what is a weak direction of them.
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 8)).astype(np.float32)
    answers = np.zeros((300, 3), np.float32)
    answers[:, 1] = features[:, 2]  # the only thing that it looks at
    asked, free = np.arange(60), np.arange(60, 300)
    predicted = refined(features, asked, answers[asked], ridge=1e-6)
    rows = choose("kmeans", 12, free=free, features=predicted, clusters=12)
    spread = np.sort(features[rows, 2])
    # Twelve clusters of a line: their middles are spread over all of it.
    assert np.diff(spread).min() > 0.05
    assert spread[0] < -1 and spread[-1] > 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: choose("random", 164), "164 images to ask of 163"),
        (lambda: choose("kmeans", 164, clusters=5), "164 images to ask of 163"),
        (lambda: choose("kmeans", 4, clusters=0), "write 1 or more"),
        (
            lambda: choose(
                "kmeans", 4, features=np.full((9, 2), np.nan, "f4"), clusters=2
            ),
            "NaN or infinity",
        ),
        (
            lambda: refined(
                np.ones((3, 2), "f4"), np.arange(2), np.ones((2, 1), "f4"), ridge=0.0
            ),
            "must be above 0, not 0.0",
        ),
    ],
)
def test_refused(call, says):
    # Catches a plan shorter than paid for, and errors of a library in their place.
    with pytest.raises(UserError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("count", "places"), [(20, 1), (45, 2), (85, 3)])
def test_narrow_asks_in_few_places(count, places):
    # Catches the smallest clusters first, or images of all of them.
    x, cluster = pool()
    rows = choose("narrow", count, clusters=5)
    assert len(set(cluster[rows])) == places
    assert len(set(cluster[choose("random", count)])) >= 4
