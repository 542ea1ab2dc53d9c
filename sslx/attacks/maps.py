"""From the answers of one account to those of another, in closed form.

A thief with several accounts sends some images from two of them, the anchors, and maps
all other answers of the one to what the other would have got. How many anchors a
transform takes (without noise): a diagonal one 2, with pads and a shuffle some 20; an
orthogonal one d; a dense one d + 1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.optimize import linear_sum_assignment

from sslx.types import refuse_if

Answers = Float[np.ndarray, "k p"]
Others = Float[np.ndarray, "l q"]  # as many: who pairs other anchors is told so


class Map(NamedTuple):
    """Answers (n, p) to ``answers @ weights + bias`` (n, q)."""

    weights: Float64[np.ndarray, "p q"]
    bias: Float64[np.ndarray, " q"]


def carried(map: Map, answers: Answers) -> Float64[np.ndarray, "k q"]:
    """What the other account would have been answered."""
    return answers @ map.weights + map.bias


def least_squares(ours: Answers, theirs: Others, *, ridge: float = 0.0) -> Map:
    """Any linear map with a bias; of many that fit, the smallest.

    Args:
        ours: The anchors' answers to the one account.
        theirs: Those to the other, row by row.
        ridge: Weight of the map's squares, in variances of a column; 0 or more.
    """
    ours, theirs, mean, other = _centred(ours, theirs)
    if ridge:
        # Fewer anchors than columns: the same map by the smaller of two matrices.
        weight = ridge * len(ours) * np.mean(ours**2)
        inner = ours @ ours.T + weight * np.eye(len(ours))
        weights = ours.T @ np.linalg.solve(inner, theirs)
    else:
        weights = np.linalg.lstsq(ours, theirs, rcond=None)[0]
    return Map(weights, other - mean @ weights)


def procrustes(ours: Answers, theirs: Others) -> Map:
    """A rotation, with or without a mirror; no bias.

    d - 1 anchors leave open whether there is a mirror, and are right half of the time.

    Source: Schoenemann 1966.
    """
    _check(ours, theirs)
    _check_width(ours, theirs)
    left, _, right = np.linalg.svd(ours.astype(np.float64).T @ theirs)
    return Map(left @ right, np.zeros(theirs.shape[1]))


def diagonal(ours: Answers, theirs: Others) -> Map:
    """A factor and a shift of each column."""
    _check_width(ours, theirs)
    every = np.arange(ours.shape[1])
    return _columns(ours, theirs, every, every)


def matched(ours: Answers, theirs: Others) -> Map:
    """A factor and a shift of each column, its partner found by correlation.

    A column without a partner is mapped to its mean.
    """
    one, other, _ = partners(ours, theirs)
    return _columns(ours, theirs, one, other)


def partners(
    ours: Answers, theirs: Others
) -> tuple[np.ndarray, np.ndarray, Float64[np.ndarray, " pairs"]]:
    """Pairs of columns whose correlations, without sign, are the most in all.

    Returns:
        Columns of ours, those of theirs, and the correlation of each pair, 0 to 1: 1
        for two that are the victim's, less for pads.

    Source: Kuhn 1955.
    """
    a, b, *_ = _centred(ours, theirs)
    likeness = np.abs(_unit(a).T @ _unit(b))
    one, other = linear_sum_assignment(likeness, maximize=True)
    return one, other, likeness[one, other]


def carried_bits(map: Map, answers: Answers) -> Bool[np.ndarray, "k q"]:
    """Bits of the other account: ``least_squares`` of bits, cut at a half."""
    return carried(map, answers) > 0.5


def _check(ours: Answers, theirs: Others) -> None:
    refuse_if(
        len(ours) != len(theirs) or not len(ours),
        f"a map takes the same anchors of both accounts, not {len(ours)} and "
        f"{len(theirs)}",
    )


def _check_width(ours: Answers, theirs: Others) -> None:
    refuse_if(
        ours.shape[1] != theirs.shape[1],
        f"this map is between answers of one width, not {ours.shape[1]} and "
        f"{theirs.shape[1]}",
    )


def _centred(ours: Answers, theirs: Others):
    """Both in float64 without their means, and the means."""
    _check(ours, theirs)
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    mean, other = ours.mean(axis=0), theirs.mean(axis=0)
    return ours - mean, theirs - other, mean, other


def _unit(columns: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(columns, axis=0)
    return columns / np.where(length > 0, length, 1)


def _columns(ours: Answers, theirs: Others, one: np.ndarray, other: np.ndarray) -> Map:
    """Column ``one[i]`` of ours to column ``other[i]`` of theirs."""
    a, b, mean, middle = _centred(ours, theirs)
    square = np.sum(a[:, one] ** 2, axis=0)
    slope = np.sum(a[:, one] * b[:, other], axis=0) / np.where(square > 0, square, 1)
    weights = np.zeros((ours.shape[1], theirs.shape[1]))
    weights[one, other] = slope
    return Map(weights, middle - mean @ weights)
