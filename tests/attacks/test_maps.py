"""Closed-form maps between two accounts, and how many anchors they take."""

import numpy as np
import pytest

from sslx.attacks.maps import (
    carried,
    carried_bits,
    diagonal,
    least_squares,
    matched,
    partners,
    procrustes,
)
from sslx.service import DEFENCES
from sslx.types import UserError
from tests.service.defended import NUMBERS, key_of, request_of

# Noise that no float64 shows: what is left is the transform.
STILL = NUMBERS["b4b"] | {"noise": 0.0}
DIM = 12


def two_accounts(transform, n=300, dim=DIM, seed=0, numbers=STILL):
    """Answers to the same images by accounts of one service."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(n, dim)) @ random.normal(size=(dim, dim))
    raw = np.abs(mixed + 1) * random.uniform(0.5, 2, dim)
    defence = DEFENCES["b4b"](**numbers | {"transform": transform})
    return [
        defence.apply(defence.init(dim, key_of(10 * seed + a)), request_of(raw, a))[0]
        for a in (0, 1)
    ]


def missed(make, ours, theirs, anchors):
    """Error of a map on what it was not made of, of what the mean misses."""
    mapped = carried(make(ours[:anchors], theirs[:anchors]), ours[anchors:])
    other = theirs[anchors:]
    return np.sqrt(
        np.mean((mapped - other) ** 2) / np.mean((other - other.mean(0)) ** 2)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("transform", "make", "enough"),
    [
        ("diagonal", diagonal, 2),
        ("diagonal", matched, 20),
        ("dense", least_squares, DIM + 1),
        ("orthogonal", procrustes, DIM),
        ("orthogonal", least_squares, DIM + 1),
    ],
)
def test_anchors_that_are_enough(transform, make, enough, seed):
    # A bias that is left out, a rotation applied the other way round, a column paired
    # with another, a threshold that is not theory's.
    ours, theirs = two_accounts(transform, seed=seed)
    assert missed(make, ours, theirs, enough) < 1e-6
    if make is not matched and make is not procrustes:
        assert missed(make, ours, theirs, enough - 1) > 0.01


def test_a_rotation_by_an_anchor_fewer():
    # d - 1 anchors leave a mirror open, d - 2 a turn: right by chance, and never.
    errors = []
    for seed in range(12):
        ours, theirs = two_accounts("orthogonal", seed=seed)
        errors.append(missed(procrustes, ours, theirs, DIM - 1))
        assert missed(procrustes, ours, theirs, DIM - 2) > 0.01
        assert missed(procrustes, ours, theirs, DIM) < 1e-6
    wrong = sum(error > 0.01 for error in errors)
    assert 0 < wrong < 12 and all(e < 1e-6 or e > 0.01 for e in errors)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pads_and_a_shuffle_fall_to_twenty_anchors(seed):
    # Columns paired by size, pads taken for answers, a factor of the wrong way.
    ours, theirs = two_accounts("pad_shuffle", seed=seed)
    one, other, likeness = partners(ours[:20], theirs[:20])
    found = likeness > 1 - 1e-9
    assert found.sum() == DIM
    mapped = carried(matched(ours[:20], theirs[:20]), ours[20:])[:, other[found]]
    np.testing.assert_allclose(mapped, theirs[20:, other[found]], atol=1e-6)
    # Two anchors pair any column with any.
    assert (partners(ours[:2], theirs[:2])[2] > 1 - 1e-9).sum() > DIM


@pytest.mark.parametrize("dim", [6, 12, 24])
def test_a_permutation_and_scales(dim):
    # A matching that is no matching: one column for two.
    random = np.random.default_rng(dim)
    ours, order = random.normal(size=(60, dim)), random.permutation(dim)
    theirs = ours[:, order] * random.uniform(-2, 2, dim) + random.normal(size=dim)
    one, other, _ = partners(ours[:20], theirs[:20])
    assert sorted(one) == list(range(dim)) and list(order[other]) == list(one)
    mapped = carried(matched(ours[:20], theirs[:20]), ours[20:])
    np.testing.assert_allclose(mapped, theirs[20:], atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bits_leak_to_a_ridge(seed):
    # Bits that tell nothing of other bits; a map that is no better with more anchors.
    ours, theirs = two_accounts("bits", n=2500, seed=seed)
    assert set(np.unique(ours)) == {0, 1} and 0.1 < theirs.mean() < 0.9
    right = []
    for anchors in (20, 2000):
        map = least_squares(ours[:anchors], theirs[:anchors], ridge=0.1)
        bits = carried_bits(map, ours[2000:])
        right.append((bits == theirs[2000:]).mean())
    most = np.maximum(theirs.mean(0), 1 - theirs.mean(0)).mean()
    assert right[0] < right[1] and right[1] > most + 0.08


@pytest.mark.parametrize("anchors", [5, 40, 200])
def test_ridge_is_the_usual_one(anchors):
    # The weight scaled with the anchors, a bias that is shrunk, too.
    ours, theirs = two_accounts("dense")
    a, b = ours[:anchors], theirs[:anchors]
    c, mean = a - a.mean(0), b.mean(0)
    weight = 0.3 * (c**2).mean()
    inner = c.T @ c / anchors + weight * np.eye(DIM)
    weights = np.linalg.solve(inner, c.T @ (b - mean) / anchors)
    map = least_squares(a, b, ridge=0.3)
    np.testing.assert_allclose(map.weights, weights, atol=1e-9)
    np.testing.assert_allclose(carried(map, a).mean(0), mean, atol=1e-9)


@pytest.mark.parametrize("make", [procrustes, diagonal])
def test_widths_that_differ(make):
    # A map of the columns that happen to be there.
    with pytest.raises(UserError, match="of one width, not 3 and 4"):
        make(np.ones((5, 3)), np.ones((5, 4)))


def test_other_anchors():
    # Rows of one account paired with none of the other's.
    with pytest.raises(UserError, match="the same anchors"):
        least_squares(np.ones((5, 3)), np.ones((4, 3)))
