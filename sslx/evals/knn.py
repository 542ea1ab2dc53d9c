"""Nearest neighbours among frozen features, and classification by their vote."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from sslx.types import refuse_if

# Similarities held at once: 64 MB of float32, whatever the sizes of the sets.
CHUNK_ELEMENTS = 2**24
FOR_DEVICES = 10**9  # multiplications from which an accelerator is worth its compile


def knn(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Integer[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m d"],
    *,
    classes: int,
    k: int,
    temperature: float,
) -> Integer[np.ndarray, " m"]:
    """Predict by a vote of the k training rows of greatest cosine similarity.

    A neighbour of similarity s votes with weight exp(s / temperature) for its class.
    Nothing is left to chance: of training rows with equal similarity the earlier ones
    are taken, of classes with equal votes the lower one. A zero vector has similarity
    0 to everything. Similarities are computed in float32, on an accelerator where JAX
    has one and the problem is large.

    Args:
        train_features: Finite; any length, only the direction counts.
        train_labels: Values 0 to classes - 1.
        test_features: Finite, of the same width.
        classes: Number of classes.
        k: Neighbours that vote, 1 to n.
        temperature: Positive; small ones approach the vote of the nearest alone.

    Returns:
        The predicted class of each test row, int64.

    Raises:
        UserError: k, temperature, labels or features are out of their range.

    Source: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance
    discrimination", section 3.4.
    """
    _check(train_features, train_labels, test_features, classes, k, temperature)
    train, labels = _directions(train_features), train_labels.astype(np.int64)
    rows = max(1, min(CHUNK_ELEMENTS // len(train), len(test_features)))
    accelerated = jax.default_backend() != "cpu"
    large = train.size * len(test_features) >= FOR_DEVICES
    find = on_device(train, k, rows) if accelerated and large else on_host(train, k)
    predictions = np.empty(len(test_features), np.int64)
    for first in range(0, len(test_features), rows):
        chunk = slice(first, first + rows)
        similarity, nearest = find(_directions(test_features[chunk]))
        votes = _votes(similarity, labels[nearest], classes, temperature)
        predictions[chunk] = votes.argmax(1)  # the first maximum: the lower class
    return predictions


def neighbours(
    features: Float[np.ndarray, "n d"],
    *,
    k: int,
    groups: Integer[np.ndarray, " n"],
) -> Integer[np.ndarray, "n k"]:
    """Of each row, the k rows of greatest cosine similarity, nearest first.

    Rows of the same group, the row itself among them, are no neighbours. Of equal
    similarities the earlier row comes first. Meant for a few thousand rows: all pairs
    are held at once.

    Args:
        features: Finite; only the direction counts.
        k: Neighbours of each row; every row needs so many outside its group.
        groups: What a row shows (the views of one picture share a value).

    Raises:
        UserError: A row has fewer than k others, or features are not finite.
    """
    refuse_if(
        not np.isfinite(features).all(),
        "neighbours: the features hold NaN or infinity",
    )
    same = groups[:, None] == groups[None, :]
    others = len(features) - int(same.sum(1).max(initial=0))
    refuse_if(
        not 1 <= k <= others,
        f"neighbours: k={k} must be between 1 and the {others} others",
    )
    rows = _directions(features)
    return _nearest(np.where(same, -np.inf, rows @ rows.T), k)


def on_host(train: Float[np.ndarray, "n d"], k: int):
    """``rows (b, d) -> similarities, places``, both (b, k), nearest first."""

    def find(rows):
        similarity = rows @ train.T
        nearest = _nearest(similarity, k)
        return np.take_along_axis(similarity, nearest, 1), nearest

    return find


def on_device(train: Float[np.ndarray, "n d"], k: int, most: int):
    """As ``on_host``, on JAX's default device, for up to ``most`` rows at once.

    The sums are rounded otherwise than on the host, which may swap neighbours whose
    similarities differ by as little as that.
    """
    there = jnp.asarray(train)

    def find(rows):
        padded = np.pad(rows, [(0, most - len(rows)), (0, 0)])  # one program
        found = _greatest(jnp.asarray(padded), there, k)
        similarity, nearest = (np.asarray(part)[: len(rows)] for part in found)
        return similarity, nearest

    return find


@partial(jax.jit, static_argnums=2)
def _greatest(rows: Array, train: Array, k: int) -> tuple[Array, Array]:
    # Not the accelerator's short floats: they would order neighbours by rounding.
    similarity = jnp.matmul(rows, train.T, precision=jax.lax.Precision.HIGHEST)
    # top_k takes equal values in order, but may put -0 below 0.
    values, places = jax.lax.top_k(jnp.where(similarity == 0, 0.0, similarity), k)
    return values, places


def _votes(
    similarity: Float[np.ndarray, "b k"],
    labels: Integer[np.ndarray, "b k"],
    classes: int,
    temperature: float,
) -> Float[np.ndarray, "b classes"]:
    chosen = similarity.astype(np.float64)
    # Relative to the nearest, or exp overflows at small temperatures; the common
    # factor does not change which class wins.
    weights = np.exp((chosen - chosen[:, :1]) / temperature)
    votes = np.zeros((len(chosen), classes))
    every = np.arange(len(chosen))
    # Nearest first for every class, so that classes with the same weights get the
    # same sum to the last bit and a tie is a tie.
    for place in range(chosen.shape[1]):
        votes[every, labels[:, place]] += weights[:, place]
    return votes


def _nearest(
    similarity: Float[np.ndarray, "b n"], k: int
) -> Integer[np.ndarray, "b k"]:
    """Columns of the k greatest values of each row, greatest first, then earliest."""
    n = similarity.shape[1]
    # The value alone: partition is several times faster than argpartition, and which
    # of several equal columns argpartition takes is not defined.
    threshold = np.partition(similarity, n - k, axis=1)[:, n - k, None]
    taken = similarity >= threshold
    for row in np.flatnonzero(taken.sum(1) > k):
        ties = np.flatnonzero(similarity[row] == threshold[row])
        surplus = taken[row].sum() - k
        taken[row, ties[len(ties) - surplus :]] = False
    columns = np.nonzero(taken)[1].reshape(len(similarity), k)
    order = np.argsort(-np.take_along_axis(similarity, columns, 1), 1, kind="stable")
    return np.take_along_axis(columns, order, 1)


def _directions(features: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "b d"]:
    """Rows of length 1 in float32; zero rows stay zero."""
    # By the greatest entry first: squares of very small or large ones leave the range.
    largest = np.abs(features).max(1, keepdims=True, initial=0)
    rows = (features / np.where(largest > 0, largest, 1)).astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _check(train, labels, test, classes: int, k: int, temperature: float) -> None:
    refuse_if(
        not 1 <= k <= len(train),
        f"kNN: k={k} must be between 1 and the {len(train)} training rows",
    )
    refuse_if(
        not temperature > 0,
        f"kNN: temperature={temperature} must be above 0",
    )
    refuse_if(
        labels.min() < 0 or labels.max() >= classes,
        f"kNN: labels run from {labels.min()} to {labels.max()}, "
        f"but must lie between 0 and {classes - 1}",
    )
    for name, features in (("training", train), ("test", test)):
        refuse_if(
            not np.isfinite(features).all(),
            f"kNN: the {name} features hold NaN or infinity",
        )
