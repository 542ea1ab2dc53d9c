"""Losses that read features as decisions, against loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from sslx.losses import LOSSES
from tests.losses.cases import rows, value, value_and_grad


def naive_bce(logits, targets):
    total = 0.0
    for x, y in zip(logits.ravel(), targets.ravel(), strict=True):
        p = 1 / (1 + np.exp(-x))
        total -= np.log(p) if y else np.log(1 - p)
    return total / logits.size


@pytest.mark.parametrize("threshold", [-0.4, [0.5, -1.0, 0.0, 0.2, 2.0]])
def test_bce_against_loops(float64, threshold):
    # Catches a threshold taken from one side only, or per image for per feature, a sum
    # over features for the mean, yes for no.
    s, t = rows(0)
    got = value("bce", {}, jnp.array(s), jnp.array(t), threshold=jnp.array(threshold))
    above = np.array(
        [
            [x > c for x, c in zip(row, np.resize(threshold, 5), strict=True)]
            for row in t
        ]
    )
    assert 0 < above.mean() < 1
    np.testing.assert_allclose(got, naive_bce(s - np.array(threshold), above))


def test_a_student_after_a_relu_can_say_below(float64):
    # Catches logits that are not centred: with the features as they are, a perfect copy
    # would be told that it decides half of them wrong.
    t = jnp.abs(jnp.array(rows(1)[0]))
    threshold = jnp.median(t, axis=0)
    got, metrics = LOSSES["bce"](t, t, threshold=threshold)
    assert metrics["agreement"] == 1
    assert got < np.log(2)
    far = 100 * (t - threshold[None]) + threshold[None]
    # Nothing is left but the medians themselves, one of 7.
    np.testing.assert_allclose(
        value("bce", {}, far, t, threshold=threshold), np.log(2) / 7, rtol=0.3
    )
    # At the threshold itself: undecided, and the teacher counts as below.
    still = jnp.broadcast_to(threshold, t.shape)
    np.testing.assert_allclose(
        value("bce", {}, still, t, threshold=threshold), np.log(2)
    )
    silent = LOSSES["bce"](still, still, threshold=threshold)[1]
    assert silent["agreement"] == 1
    wrong = LOSSES["bce"](2 * still - t, t, threshold=threshold)[1]
    assert wrong["agreement"] == pytest.approx(1 / 7)  # the medians themselves


def test_bce_reference_sees_zeros_only(float64):
    # Catches another rounding of halves than the published code's, and a target that
    # depends on more than which features are exactly zero.
    s, t = rows(2)
    t = np.maximum(t, 0)
    assert 0.2 < (t > 0).mean() < 0.8
    got = value("bce_reference", {}, jnp.array(s), jnp.array(t))
    np.testing.assert_allclose(got, naive_bce(s, t > 0))
    same = value("bce_reference", {}, jnp.array(s), jnp.array(1e-3 * t))
    assert same == got


def naive_soft_cross_entropy(s, t):
    total = 0.0
    for a, b in zip(s, t, strict=True):
        p, q = np.exp(b) / np.exp(b).sum(), np.exp(a) / np.exp(a).sum()
        total -= sum(p[k] * np.log(q[k]) for k in range(len(a)))
    return total / len(s)


def test_soft_cross_entropy_against_loops(float64):
    # Catches student and teacher exchanged, a softmax over the batch, a mean over the
    # features.
    s, t = rows(3)
    a, c = jnp.array(s), jnp.array(t)
    got = value("soft_cross_entropy", {}, a, c)
    np.testing.assert_allclose(got, naive_soft_cross_entropy(s, t))
    # Least at the teacher itself, where it is the entropy and the gradient is 0.
    least, slope = value_and_grad("soft_cross_entropy", {}, c, c)
    np.testing.assert_allclose(least, entropy(softmax(t, 1), axis=1).mean())
    np.testing.assert_allclose(slope, 0, atol=1e-12)
    assert got > least
    moved = value("soft_cross_entropy", {}, a + 5 * jnp.ones((7, 1)), c - 3)
    np.testing.assert_allclose(moved, got)
    constant = value("soft_cross_entropy", {}, jnp.ones((7, 5)), c)
    np.testing.assert_allclose(constant, np.log(5))


def test_soft_cross_entropy_reference_is_an_entropy(float64):
    # Catches a detached target (its gradient would be 0) and a teacher that is used.
    s, t = rows(4)
    got, slope = value_and_grad(
        "soft_cross_entropy_reference", {}, jnp.array(s), jnp.array(t)
    )
    p = softmax(s, 1)
    each = entropy(p, axis=1)
    np.testing.assert_allclose(got, each.mean())
    np.testing.assert_allclose(slope, -p * (np.log(p) + each[:, None]) / 7)
    of_teacher = jax.grad(
        lambda t: LOSSES["soft_cross_entropy_reference"](jnp.array(s), t)[0]
    )(jnp.array(t))
    assert not of_teacher.any()
