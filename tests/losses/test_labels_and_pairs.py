"""Losses that know more than which rows belong together: labels, pairs of views."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.losses import LOSSES
from tests.losses.cases import interleaved, rows, value


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive_supcon(s, t, labels, temperature):
    z, y = unit(np.concatenate([s, t])), [*labels, *labels]
    n, total = len(z), 0.0
    for i in range(n):
        everyone = sum(np.exp(z[i] @ z[a] / temperature) for a in range(n) if a != i)
        same = [p for p in range(n) if p != i and y[p] == y[i]]
        logs = [np.log(np.exp(z[i] @ z[p] / temperature) / everyone) for p in same]
        total -= sum(logs) / len(same)
    return total / n


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 0, 5], [3] * 7, [-1, 4] * 3 + [9]])
def test_supcon_against_loops(float64, labels):
    # Catches the anchor among its own positives, a sum for the mean over positives, the
    # labels of a row that are another row's.
    s, t = rows(0)
    got = value(
        "supcon",
        {"temperature": 0.3},
        jnp.array(s),
        jnp.array(t),
        labels=jnp.array(labels),
    )
    np.testing.assert_allclose(got, naive_supcon(s, t, labels, 0.3), rtol=1e-10)


def test_supcon_without_a_class_in_common_is_infonce(float64):
    # Catches a factor between the two.
    s, t = map(jnp.array, rows(1))
    kw = {"temperature": 0.07}
    got = value("supcon", kw, s, t, labels=jnp.arange(7) * 11)
    np.testing.assert_allclose(got, value("infonce", kw, s, t), rtol=1e-12)
    # All rows equal, whatever the labels: one of 2b - 1.
    equal = jnp.ones((7, 5))
    np.testing.assert_allclose(value("supcon", kw, equal, equal), np.log(13))


def naive_infonce_reference(s, s2, t, t2, temperature):
    """In the order of the published code: all first views, then the next party's."""
    b = len(s)
    z = unit(np.concatenate([s, s2, t, t2]))
    total = 0.0
    for i in range(4 * b):
        own = [k for k in range(4 * b) if k % b == i % b and k != i]
        everyone = sum(
            np.exp(z[i] @ z[k] / temperature) for k in range(4 * b) if k != i
        )
        total -= np.log(np.exp(z[i] @ z[own[0]] / temperature) / everyone)
    return total / (4 * b)


def naive_barlow(one, two, off_diagonal):
    one, two = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (one, two))
    c = one.T @ two / len(one)
    alike = np.sum((1 - np.diag(c)) ** 2)
    return alike + off_diagonal * (np.sum(c**2) - np.sum(np.diag(c) ** 2))


def test_pairs_against_loops(float64):
    # Catches rows of a pair that are not neighbours' and another positive than the
    # published code's first one.
    (s, s2), (t, t2) = rows(2), rows(3)
    sides = jnp.array(interleaved(s, s2)), jnp.array(interleaved(t, t2))
    got = value("infonce_reference", {"temperature": 0.4}, *sides)
    expected = naive_infonce_reference(s, s2, t, t2, 0.4)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    got = value("barlow_reference", {"off_diagonal": 0.3}, *sides)
    expected = naive_barlow(np.vstack([s, t]), np.vstack([s2, t2]), 0.3)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_published_defects_are_there(float64):
    # Catches a reference that was mended: these say what makes it one.
    (s, s2), (t, t2) = rows(4, 6, 4), rows(5, 6, 4)
    student = jnp.array(interleaved(s, s2))
    teacher = jnp.array(interleaved(t, t2))
    others = jnp.array(interleaved(t[::-1], t2[::-1]))  # of other images
    kw = {"off_diagonal": 0.3}
    base = value("barlow_reference", kw, student, teacher)
    same = value("barlow_reference", kw, student, others)
    np.testing.assert_allclose(same, base)  # as good as the right answers
    assert abs(value("barlow", kw, student, others) - base) > 1e-2
    # A perfect copy whose views differ: the student's second view is far from the
    # first, and two of three rows of its own image are pushed away.
    eye = jnp.array(interleaved(np.eye(12)[:6], np.eye(12)[6:]))
    kw = {"temperature": 0.1}
    copy = value("infonce_reference", kw, eye, eye)
    assert value("infonce", kw, eye, eye) < 0.01 and copy > 5
    top1 = LOSSES["infonce_reference"](eye, eye, temperature=0.1)[1]["top1"]
    # Only the teacher's first view has student 1 as its nearest.
    assert top1 == 0.25
