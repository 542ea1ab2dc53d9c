"""The losses that attacks have of their own, on given features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.attacks.cont_steal import cont_steal_loss
from sslx.attacks.rda import prototypes, rda_loss
from sslx.attacks.stolen_encoder import DISTANCES, stolen_encoder_loss
from tests.attacks import slow


def features(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape))


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_stolen_encoder(float64, name):
    # Catches squares, rows that are not of unit length, a sum where a mean should be,
    # an augmented view in the place of the image.
    student, answers = features(5, 4, 3), features(5, 3, seed=1)
    got, metrics = stolen_encoder_loss(student, answers, weight=7.0, distance=name)
    rows = list(np.moveaxis(np.asarray(student), 1, 0))
    expected = slow.stolen_encoder_loss(rows, np.asarray(answers), 7.0, name)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_allclose(got, metrics["same"] + 7 * metrics["augmented"])


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_stolen_encoder_at_its_goal(name):
    # Catches the root's slope of infinity where stealer and victim agree.
    y = features(5, 3).astype(jnp.float32)

    def loss(student):
        return stolen_encoder_loss(student, y, weight=20.0, distance=name)[0]

    value, slope = jax.value_and_grad(loss)(jnp.stack([2 * y, 2 * y], axis=1))
    assert value == pytest.approx(-21 if name == "cosine" else 0, abs=1e-5)
    assert np.isfinite(slope).all() and np.abs(slope).max() < 20


def test_cont_steal(float64):
    # Catches the positive in the denominator, pairs of two answers, the stealer as
    # anchor, rows that are not of unit length.
    s, y = features(6, 3), features(6, 3, seed=1)
    got, _ = cont_steal_loss(s, y, temperature=0.3)
    expected = slow.cont_steal_loss(*map(np.asarray, (s, y)), 0.3)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    swapped, _ = cont_steal_loss(y, s, temperature=0.3)
    assert abs(got - swapped) > 1e-3
    # Two images at right angles: log(2 e^0) - 1 / T.
    axes = jnp.eye(2)
    got, _ = cont_steal_loss(axes, axes, temperature=0.07)
    np.testing.assert_allclose(got, np.log(2) - 1 / 0.07, rtol=1e-12)


def test_rda(float64):
    # Catches prototypes of unit length, answers that are not, exchanged weights, a
    # distance that is not squared.
    s, y = features(6, 3), features(6, 4, 3, seed=1)
    numbers = {"contrast": 0.7, "align": 0.2, "temperature": 0.3}
    got, metrics = rda_loss(s, prototypes(y), **numbers)
    views = list(np.moveaxis(np.asarray(y), 1, 0))
    expected = slow.rda_loss(np.asarray(s), views, 0.7, 0.2, 0.3)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    both = 0.7 * metrics["contrast"] + 0.2 * metrics["align"]
    np.testing.assert_allclose(got, both, rtol=1e-12)
    lengths = np.linalg.norm(prototypes(y), axis=1)
    assert lengths.max() < 0.99


@pytest.mark.parametrize(
    ("x", "prototype", "align"),
    [
        ([1.0, 0.0], [1.0, 0.0], np.log(1e-12) - np.log(2)),
        ([1.0, 0.0], [-1.0, 0.0], np.log(4) - np.log(1e-12)),
        ([1.0, 0.0], [0.0, 0.0], 0.0),
    ],
)
def test_rda_where_it_has_no_end(x, prototype, align):
    # Catches a division by zero at a stealer that agrees, or points the other way, and
    # at a prototype of zeros.
    x, prototype = jnp.asarray([x, [0.0, 1.0]]), jnp.asarray([prototype, [0.0, 0.5]])

    def loss(x):
        return rda_loss(x, prototype, contrast=1.0, align=1.0, temperature=0.5)

    (_, metrics), slope = jax.value_and_grad(loss, has_aux=True)(x)
    other = np.log(0.25) - np.log(2)
    assert metrics["align"] == pytest.approx((align + other) / 2, rel=1e-5)
    assert np.isfinite(slope).all() and np.abs(slope).max() < 10
