"""Losses of histograms, against SciPy's distances of two weighted sets of places."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import energy_distance, wasserstein_distance

from tests.losses.cases import rows, value, value_and_grad

SCIPY = {"wasserstein": wasserstein_distance, "energy": energy_distance}


@pytest.mark.parametrize("name", SCIPY)
def test_against_scipy(float64, name):
    # Catches a missing normalisation or root, sums over the batch, features that are
    # sorted first.
    s, t = map(np.abs, rows(0, 6, 9))
    s[2, 3:] = 0
    places = np.arange(9)
    each = [SCIPY[name](places, places, p, q) for p, q in zip(s, t, strict=True)]
    got = value(name, {}, jnp.array(s), jnp.array(t))
    np.testing.assert_allclose(got, np.mean(each), rtol=1e-10)
    # The scale of a row is no matter, the order of the features is.
    louder = jnp.array(s) * jnp.arange(1.0, 7)[:, None]
    np.testing.assert_allclose(value(name, {}, louder, jnp.array(t)), got)
    order = np.random.RandomState(0).permutation(9)
    moved = value(name, {}, jnp.array(s[:, order]), jnp.array(t[:, order]))
    assert abs(moved - got) > 1e-2


def test_closed_forms(float64):
    # Catches a constant factor: all mass in the first place against the last one.
    eye = jnp.eye(5)
    first, last = jnp.tile(eye[:1], (3, 1)), jnp.tile(eye[-1:], (3, 1))
    np.testing.assert_allclose(value("wasserstein", {}, first, last), 4)
    np.testing.assert_allclose(value("energy", {}, first, last), np.sqrt(8))
    for name in SCIPY:
        # A copy, but for its scale: the root's slope is no nan.
        for copy in (first, 3 * first):
            got, slope = value_and_grad(name, {}, copy, first)
            np.testing.assert_allclose(got, 0, atol=1e-12)
            assert jnp.isfinite(slope).all()


def test_huge_and_silent_rows():
    # Catches a sum that overflows float32, and 0/0 of a row of zeros.
    t = jnp.abs(jnp.asarray(rows(1, 7, 16)[0], jnp.float32))
    s = jnp.abs(jnp.asarray(rows(1, 7, 16)[1], jnp.float32))
    for name in SCIPY:
        plain = value(name, {}, s, t)
        huge = s / s.max() * 8e37
        assert jnp.isinf(huge.sum(axis=1)).any()
        np.testing.assert_allclose(value(name, {}, huge, t), plain, rtol=1e-5)
        silent, slope = value_and_grad(name, {}, jnp.zeros_like(s), t)
        assert silent > 0 and jnp.isfinite(slope).all()
