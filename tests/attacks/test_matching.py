"""What an attack trains: a loss of the table, bound for the stored answers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.attacks.matching import cluster_labels, make_match
from sslx.losses import LOSSES
from sslx.registry import Traits, keywords, traits, traits_of
from sslx.train.mesh import replicated, split_rows
from sslx.types import UserError

NUMBERS = {
    "threshold": 0.25,
    "temperature": 0.3,
    "labels": 0,
    "off_diagonal": 0.2,
    "invariance": 1.0,
    "variance": 2.0,
    "covariance": 3.0,
}


def sides(b=9, v=2, d=4):
    draw = np.random.RandomState(0)
    return np.abs(draw.randn(2, b, v, d)).astype(np.float32)


def numbers_of(loss):
    return {k: NUMBERS[k] for k in keywords(LOSSES[loss])}


def having(trait):
    return [name for name, loss in LOSSES.items() if getattr(traits_of(loss), trait)]


def bind(loss, answers):
    return make_match(loss, numbers_of(loss), answers)


def test_what_a_block_of_the_config_holds():
    # Catches a keyword that the config does not know, positions taken for keywords.
    assert keywords(LOSSES["supcon"]) == {"temperature", "labels"}
    assert keywords(LOSSES["bce"]) == {"threshold"}
    assert keywords(LOSSES["vicreg"]) == {"invariance", "variance", "covariance"}
    assert keywords(LOSSES["mse"]) == set()
    with pytest.raises(UserError, match="unknown loss 'mes'; known: barlow"):
        make_match("mes", {}, sides()[1])


def test_traits_stand_beside_the_losses():
    # Catches a trait that is lost on the way to the table, or given to all; and one of
    # a number that the loss does not take.
    assert having("labels") == ["supcon"]
    assert having("quantiles") == ["bce"]
    assert having("paired") == ["barlow_reference", "infonce_reference"]
    assert having("non_negative") == ["energy", "wasserstein"]
    with pytest.raises(ValueError, match="mse takes no weight"):
        traits(may_be_0=("weight",))(LOSSES["mse"])
    assert traits_of(LOSSES["mse"]) == Traits()


@pytest.mark.parametrize("v", [1, 3])
def test_mean_over_views(v):
    # Catches views of an image that meet each other, view j of the student beside
    # another view of the answers, metrics of one view for all, labels left out.
    student, answers = sides(v=v)
    labels = jnp.arange(9) % 3
    temperature = NUMBERS["temperature"]
    plain = {
        "infonce": partial(LOSSES["infonce"], temperature=temperature),
        "supcon": partial(LOSSES["supcon"], temperature=temperature, labels=labels),
    }
    for name, loss in plain.items():
        got, metrics = jax.jit(bind(name, answers))(student, answers, labels)
        each = [
            loss(*map(jnp.asarray, (student[:, j], answers[:, j]))) for j in range(v)
        ]
        np.testing.assert_allclose(got, np.mean([x for x, _ in each]), rtol=1e-5)
        assert set(metrics) == set(each[0][1])
        for key in metrics:
            mean = np.mean([m[key] for _, m in each])
            np.testing.assert_allclose(metrics[key], mean, rtol=1e-5)


def test_threshold_is_a_quantile_of_each_feature():
    # Catches one threshold for all features, that of one view, the share of the larger.
    student, answers = sides(b=3, v=3)
    answers = answers * np.float32([1, 10, 100, 1000])
    # Of 9 answers, 2 lie below the first quartile.
    quartile = np.sort(answers.reshape(9, 4), axis=0)[2]
    got, metrics = bind("bce", answers)(student, answers, None)
    each = [
        LOSSES["bce"](
            *map(jnp.asarray, (student[:, j], answers[:, j])), threshold=quartile
        )
        for j in range(3)
    ]
    np.testing.assert_allclose(got, np.mean([x for x, _ in each]), rtol=1e-5)
    assert set(metrics) == {"agreement"}
    for share in (-0.1, 1.0, 50.0):
        with pytest.raises(UserError, match="write 0.5 for the median"):
            make_match("bce", {"threshold": share}, answers)


@pytest.mark.parametrize("name", having("paired"))
def test_pairs_are_neighbours(name):
    # Catches views stacked one after the other, and a number of views that is no pair.
    student, answers = sides()
    got, _ = bind(name, answers)(jnp.array(student), jnp.array(answers), None)
    flat = (
        jnp.array([view for image in side for view in image])
        for side in (student, answers)
    )
    expected = LOSSES[name](*flat, **numbers_of(name))[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for v in (1, 3):
        with pytest.raises(UserError, match=f"and {v} were asked: ask 2"):
            bind(name, sides(v=v)[1])


@pytest.mark.parametrize("name", having("non_negative"))
def test_negative_answers_are_refused(name):
    # Catches a histogram of what has none.
    answers = sides()[1]
    answers[3, 1, 2] = 0
    bind(name, answers)
    answers[3, 1, 2] = -1e-6
    with pytest.raises(UserError, match="not negative"):
        bind(name, answers)


def test_sharded_batches(float64):
    # Catches a loss that cannot be bound, views that are laid out before images, and
    # labels that stay on one device: every loss on 1 and 8 devices.
    student, answers = sides(b=64, d=16).astype(np.float64)
    labels = np.arange(64) % 5
    matches = {name: bind(name, answers) for name in LOSSES}

    def run(student, answers, labels):
        return {k: match(student, answers, labels)[0] for k, match in matches.items()}

    found, flops = [], []
    for n in (1, 8):
        mesh = Mesh(np.array(jax.devices()[:n]), ("data",), axis_types=(AxisType.Auto,))
        jitted = jax.jit(
            run, in_shardings=split_rows(mesh), out_shardings=replicated(mesh)
        )
        program = jitted.lower(student, answers, labels).compile()
        found.append(jax.device_get(program(student, answers, labels)))
        flops.append(program.cost_analysis()["flops"])
    assert set(found[0]) == set(LOSSES)
    for name in LOSSES:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-9)
    assert flops[1] < flops[0] / 4


def test_clusters():
    # Catches lengths that count, one view taken for the image, and another result
    # with the same seed.
    draw = np.random.RandomState(3)
    truth = np.repeat([0, 1, 2], 20)
    rows = np.eye(5)[truth] + 0.05 * draw.randn(60, 5)
    rows *= draw.uniform(0.1, 100, (60, 1))
    off = 300 * draw.randn(60, 1, 5)
    answers = np.concatenate([rows[:, None] + off, rows[:, None] - off], axis=1)
    answers = answers.astype(np.float32)
    labels = cluster_labels(answers, 3, 0)
    assert labels.dtype == np.int32 and labels.shape == (60,)
    assert len(set(zip(truth, labels, strict=True))) == 3 == len(set(labels))
    np.testing.assert_array_equal(labels, cluster_labels(answers, 3, 0))
    noise = draw.randn(300, 1, 8).astype(np.float32)
    first, again, other = (cluster_labels(noise, 6, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    for clusters in (1, 61):
        with pytest.raises(UserError, match="clusters of 60 images cannot be made"):
            cluster_labels(answers, clusters, 0)
