"""The kNN classifier."""

import numpy as np
import pytest

import sslx.evals.knn as module
from sslx.evals.knn import knn, neighbours
from sslx.types import UserError

# Four directions; seen from (1, 0) their cosines are 1, 0.8, 0.6 and 0.
POINTS = np.array([[1, 0], [0.8, 0.6], [0.6, -0.8], [0, 1]], np.float32)
EAST = np.array([[1, 0]], np.float32)


def vote(labels, k, temperature, test=EAST, points=POINTS):
    return knn(
        points,
        np.array(labels),
        test,
        classes=3,
        k=k,
        temperature=temperature,
    ).tolist()


def slow(train, labels, test, classes, k, temperature):
    predictions = []
    for row in test:
        cosines = [
            float(row @ t) / float(np.linalg.norm(row) * np.linalg.norm(t))
            for t in train
        ]
        votes = [0.0] * classes
        for i in sorted(range(len(train)), key=lambda i: -cosines[i])[:k]:
            votes[labels[i]] += np.exp(cosines[i] / temperature)
        predictions.append(votes.index(max(votes)))
    return predictions


def random_set(n, m, d, classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = rng.standard_normal((classes, d))
    train = centres[labels] + 2 * rng.standard_normal((n, d))
    return (
        train,
        labels,
        centres[rng.integers(0, classes, m)] + rng.standard_normal((m, d)),
    )


def test_weights_by_hand():
    # Catches: an unweighted vote, or s * temperature in place of s / temperature.
    # Class 2 has the point at cosine 1; class 1 those at 0.8 and 0.6. With
    # temperature 1: e^1 = 2.72 < e^0.8 + e^0.6 = 4.05; with 0.1: e^10 > e^8 + e^6.
    assert vote([2, 1, 1, 0], k=3, temperature=1.0) == [1]
    assert vote([2, 1, 1, 0], k=3, temperature=0.1) == [2]


def test_only_k_vote():
    # Catches: k off by one, or the farthest in place of the nearest.
    # With temperature 100 the weights are near equal, so the count decides.
    assert vote([2, 1, 1, 1], k=1, temperature=100.0) == [2]
    assert vote([2, 2, 1, 1], k=3, temperature=100.0) == [2]
    assert vote([2, 0, 0, 2], k=4, temperature=100.0) == [0]


def test_tied_votes_go_to_the_lower_class():
    # Catches: a tie decided by the order of the training rows.
    points = np.array([[0.8, 0.6], [0.8, -0.6]], np.float32)
    assert vote([2, 1], k=2, temperature=0.1, points=points) == [1]
    assert vote([1, 2], k=2, temperature=0.1, points=points) == [1]


def test_tied_neighbours_are_taken_in_order():
    # Catches: which of several equal rows vote being left to the partition.
    points = np.repeat(EAST, 40, 0)
    labels = [2] * 3 + [1] * 37
    assert vote(labels, k=5, temperature=0.1, points=points) == [2]
    assert vote(labels, k=7, temperature=0.1, points=points) == [1]


@pytest.mark.parametrize("k, temperature", [(1, 0.07), (5, 0.07), (20, 0.5), (60, 1.0)])
def test_against_a_slow_loop(k, temperature, monkeypatch):
    # Catches: rows mixed up by the chunks, the sort or the partition.
    train, labels, test = random_set(60, 37, 6, 4)
    kwargs = dict(classes=4, k=k, temperature=temperature)
    expected = slow(train, labels, test, **kwargs)
    assert len(set(expected)) > 1
    assert knn(train, labels, test, **kwargs).tolist() == expected
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 60 * 5)
    assert knn(train, labels, test, **kwargs).tolist() == expected


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_length_does_not_count(scale):
    # Catches: the dot product in place of the cosine, and squares out of range.
    train, labels, test = random_set(60, 37, 6, 4)
    train, test = train.astype(np.float32), test.astype(np.float32)
    kwargs = dict(classes=4, k=5, temperature=0.1)
    lengths = np.where(np.arange(60) % 2, scale, 1).astype(np.float32)[:, None]
    expected = knn(train, labels, test, **kwargs)
    scaled = knn(train * lengths, labels, test * np.float32(scale), **kwargs)
    np.testing.assert_array_equal(scaled, expected)


def test_zero_vectors_are_similar_to_nothing():
    # Catches: 0 / 0 = NaN, which argmax takes for the greatest.
    points = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    assert vote([1, 2, 0], k=1, temperature=0.1, points=points) == [2]
    assert vote([1, 2, 0], k=1, temperature=0.1, points=points, test=-EAST) == [0]
    assert vote([1, 2, 0], k=3, temperature=0.1, points=points, test=0 * EAST) == [0]


def test_tiny_temperature():
    # Catches: exp overflowing to infinity for both classes.
    assert vote([1, 2, 0, 0], k=4, temperature=1e-4) == [1]
    assert vote([2, 1, 0, 0], k=4, temperature=1e-4) == [2]


def whole_numbers(n, m, d, seed=0):
    """Rows whose products are exact in float32, with many ties and zero vectors."""
    rng = np.random.default_rng(seed)
    train, test = (rng.integers(-1, 2, (rows, d)) for rows in (n, m))
    train[::7], test[::5] = 0, 0
    return train.astype(np.float32), test.astype(np.float32)


@pytest.mark.parametrize("k", [1, 4, 50])
def test_device_finds_what_the_host_finds(k):
    # Catches ties in another order (-0 below 0 among them), padding passed on.
    train, test = whole_numbers(50, 23, 3)
    train[3:6] = -0.0
    host, device = module.on_host(train, k), module.on_device(train, k, most=9)
    for first in range(0, 23, 9):  # the last one is short
        rows = test[first : first + 9]
        for ours, theirs in zip(device(rows), host(rows), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_device_puts_no_zero_below_another():
    # Catches -0, which BLAS hands out or not as it likes, sorted below 0.
    minus = np.array([[-0.0], [0.0], [-0.0], [1.0]], np.float32)
    similarity, nearest = module.on_device(minus, 4, 1)(np.ones((1, 1), np.float32))
    assert nearest.tolist() == [[3, 0, 1, 2]] and not np.signbit(similarity).any()


def test_votes_on_an_accelerator(monkeypatch):
    # Catches a large problem that stays on the host, a small one that does not, other
    # predictions, chunks that do not divide.
    train, labels, test = random_set(60, 37, 6, 4)
    kwargs = dict(classes=4, k=5, temperature=0.1)
    expected = knn(train, labels, test, **kwargs)
    made, on_device = [], module.on_device
    monkeypatch.setattr(
        module, "on_device", lambda *given: made.append(given) or on_device(*given)
    )
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 60 * 5)
    monkeypatch.setattr(module.jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(knn(train, labels, test, **kwargs), expected)
    assert not made
    monkeypatch.setattr(module, "FOR_DEVICES", 60 * 37 * 6)
    np.testing.assert_array_equal(knn(train, labels, test, **kwargs), expected)
    assert len(made) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(k=5), "k=5 must be between 1 and the 4 training rows"),
        (dict(k=0), "k=0 must be"),
        (dict(temperature=0.0), "temperature=0.0 must be above 0"),
        (dict(labels=[0, 1, 2, 3]), "labels run from 0 to 3"),
        (dict(labels=[0, -1, 2, 2]), "labels run from -1 to 2"),
        (dict(points=POINTS * np.float32(np.nan)), "training features hold NaN"),
        (dict(test=np.array([[np.inf, 0]], np.float32)), "test features hold"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    # Catches: a wrong setting that votes all the same (a label of -1 indexes).
    kwargs = dict(labels=[0, 1, 2, 2], k=2, temperature=0.1) | change
    with pytest.raises(UserError) as error:
        vote(**kwargs)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_neighbours_by_hand():
    # Catches: a row as its own neighbour, the length of a row in its rank, the nearest
    # last, a tie that goes to the later row.
    rows = np.array([[1, 0], [4, 3], [0.6, -0.8], [0, 9], [0.8, 0.6]], np.float32)
    near = neighbours(rows, k=2, groups=np.arange(5))
    # Cosines of row 0 with the others: 0.8, 0.6, 0, 0.8; of row 3: 0, 0.6, -0.8, 0.6.
    assert near[0].tolist() == [1, 4]
    assert near[3].tolist() == [1, 4]
    assert near[1].tolist() == [4, 0]
    # Rows 0 and 1 show the same: no neighbours of each other.
    near = neighbours(rows, k=2, groups=np.array([7, 7, 1, 2, 3]))
    assert near[0].tolist() == [4, 2]
    assert near[1].tolist() == [4, 3]


def test_neighbours_refused():
    # Catches rows of the same group passed off as neighbours where others are lacking.
    rows, groups = np.eye(4, dtype=np.float32), np.array([0, 0, 0, 1])
    for k in (0, 2):
        with pytest.raises(
            UserError, match=f"k={k} must be between 1 and the 1 others"
        ):
            neighbours(rows, k=k, groups=groups)
    with pytest.raises(UserError, match="NaN"):
        neighbours(rows * np.nan, k=1, groups=groups)
