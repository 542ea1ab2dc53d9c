"""Loss and gradient of softmax regression, on the host and on a device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sslx.evals.solver as solver
from sslx.evals.softmax import objective, on_device, on_host
from sslx.evals.solver import fit
from tests.evals.test_linear import TIGHT, blobs, loss_of


def test_gradient_is_that_of_the_loss():
    # Catches: a wrong term in the analytic gradient, far from any optimum.
    features, labels = blobs(50, 5, 3)
    theta = np.random.default_rng(0).standard_normal((3, 6))
    loss, gradient = objective(theta, features, labels, 0.3)
    with jax.enable_x64(True):
        expected, (by_weights, by_bias) = jax.value_and_grad(loss_of, (0, 1))(
            jnp.array(theta[:, :-1].T), jnp.array(theta[:, -1]), features, labels, 0.3
        )
    assert loss == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(gradient[:, :-1], by_weights.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradient[:, -1], by_bias, rtol=0, atol=1e-12)


def test_huge_logits_are_safe():
    # Catches: exp without the shift (infinity), log of a probability of 0.
    labels = np.array([0, 1, 1])
    theta = np.array([[1e4, 0.0], [-1e4, 0.0]])
    loss, gradient = objective(theta, np.array([[1.0], [-1], [1]]), labels, 0.0)
    assert loss == pytest.approx(2e4 / 3) and np.isfinite(gradient).all()


@pytest.mark.parametrize("logits", [2**20, 150, 3])
def test_device_computes_what_the_host_does(logits):
    # Catches: float32 on the device, a lost block or last row, a penalised bias, a mean
    # of means, variables changed by the transpose. 50 rows: blocks of 50, 50 and 1.
    features, labels = blobs(50, 5, 3)
    rng = np.random.default_rng(0)
    start, step = rng.standard_normal((2, 3, 6))
    change = np.tril(rng.standard_normal((6, 6)))
    problem = dict(start=start, change=change)
    host = on_host(features, labels, 0.3, **problem)(step)
    device = on_device(features, labels, 0.3, **problem, logits=logits)(step)
    assert device.loss == pytest.approx(host.loss, rel=1e-12)
    assert device.greatest == pytest.approx(host.greatest, rel=1e-12)
    size = np.abs(host.gradient).max()
    np.testing.assert_allclose(device.gradient, host.gradient, 0, 1e-12 * size)
    _, plain = objective(start + step @ change, features, labels, 0.3)
    assert host.greatest == np.abs(plain).max()
    np.testing.assert_allclose(host.gradient, plain @ change.T)


def test_fit_on_a_device(monkeypatch):
    # Catches: a large problem left on the host, or another optimum of the device.
    features, labels = blobs(400, 12, 4)
    host = fit(features, labels, classes=4, l2=1e-3, **TIGHT)
    used = []

    def counted(*args, **kwargs):
        used.append(1)
        return on_device(*args, **kwargs, logits=700)

    monkeypatch.setattr(solver, "on_device", counted)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    fit(features, labels, classes=4, l2=1e-3, **TIGHT)
    assert not used  # small
    monkeypatch.setattr(solver, "FOR_DEVICES", 400 * 12 * 4)
    device = fit(features, labels, classes=4, l2=1e-3, **TIGHT)
    assert used and device.converged
    np.testing.assert_allclose(device.weights, host.weights, rtol=0, atol=1e-6)
    np.testing.assert_allclose(device.loss, host.loss, rtol=1e-12)
