"""The study's own probe against its protocol written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.evals.reference import EPOCHS, initial, reference_probe, train
from sslx.types import UserError


def data(n, d=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = np.random.default_rng(9).standard_normal((classes, d))
    return 2 * centres[labels] + rng.standard_normal((n, d)) + 1, labels


def slow(weights, bias, features, labels, rate, epochs):
    """PyTorch's Adam with coupled weight decay, as its documentation has it."""
    theta = np.concatenate([weights, bias[None]])
    first, second, t = 0 * theta, 0 * theta, 0
    for _ in range(epochs):
        for at in range(0, len(labels), 256):
            x, y = features[at : at + 256], labels[at : at + 256]
            x = np.c_[x, np.ones(len(x))]
            p = np.exp(x @ theta)
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(y)), y] -= 1
            gradient = x.T @ p / len(x) + 8e-4 * theta
            t += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
            theta = theta - rate * step
    return theta[:-1], theta[-1]


@pytest.mark.parametrize("n", [600, 100])
def test_against_the_protocol_written_out(n, float64):
    # Catches: decay after the moments or none on the bias, another epsilon, the last
    # batch dropped or weighed as a whole one, order that changes.
    features, labels = data(n)
    layer = initial(jax.random.key(0), 5, 3)
    start = np.asarray(layer["weights"]), np.asarray(layer["bias"])
    ours = train(layer, jnp.asarray(features), jnp.asarray(labels), 1e-2, epochs=7)
    weights, bias = slow(*start, features, labels, 1e-2, epochs=7)
    assert np.abs(weights - start[0]).max() > 0.05
    np.testing.assert_allclose(ours["weights"], weights, atol=1e-9)
    np.testing.assert_allclose(ours["bias"], bias, atol=1e-9)


def test_predictions_are_those_after_all_epochs():
    # Catches: fewer epochs than the study's, test rows by other features, a seed that
    # nothing depends on. Rates so small that the start still shows.
    features, labels = data(300)
    test, _ = data(2000, seed=1)
    kwargs = dict(classes=3, learning_rate=1e-3)
    features, test = features.astype(np.float32), test.astype(np.float32)
    found = reference_probe(features, labels, test, seed=0, **kwargs)
    layer = initial(jax.random.key(0), 5, 3)
    start = np.asarray(layer["weights"]), np.asarray(layer["bias"])
    share = []
    for epochs in (EPOCHS, EPOCHS - 10):
        weights, bias = slow(*start, features, labels, 1e-3, epochs)
        share.append(np.mean(found == (test @ weights + bias).argmax(1)))
    assert EPOCHS == 100 and share[0] >= 0.999 > share[1]
    again = reference_probe(features, labels, test, seed=0, **kwargs)
    np.testing.assert_array_equal(found, again)
    assert (found != reference_probe(features, labels, test, seed=1, **kwargs)).any()


def test_initial_layer_is_that_of_pytorch():
    # Catches: a normal distribution, the bound of another default, a bias of zeros.
    layer = initial(jax.random.key(0), 400, 50)
    for part in layer.values():
        assert 0.9 / 20 < np.abs(part).max() <= 1 / 20
    assert abs(np.mean(layer["weights"])) < 1e-3
    assert np.std(layer["weights"]) == pytest.approx(0.05 / 3**0.5, rel=0.02)
    assert np.unique(layer["weights"]).size > 19_000


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(labels=np.arange(100) % 4), "labels run from 0 to 3, not 0 to 2"),
        (dict(labels=np.full(100, -1)), "labels run from -1"),
        (dict(rate=0.0), "learning_rate=0.0 must be above 0"),
        (dict(test=np.full((1, 5), np.nan)), "test features are not finite"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    # Catches: a label beyond the classes, whose loss optax makes NaN.
    features, labels = data(100)
    given = dict(labels=labels, test=features, rate=1e-3) | change
    with pytest.raises(UserError, match=message):
        reference_probe(
            features,
            given["labels"],
            given["test"],
            classes=3,
            learning_rate=given["rate"],
            seed=0,
        )
