"""Loss and gradient of softmax regression, by NumPy on the host or JAX on a device.

Everything is in float64: the search for the optimum ends in differences of the loss
that float32 does not hold. The parameters are one matrix (k, d + 1), the weights
transposed with the bias as last column, reached from ``start`` by a step in changed
variables, ``start + step @ change`` (see ``sslx.evals.solver``).

For n rows, d features and k classes an evaluation takes 4 n d k operations for the data
and 4 k d^2 for the variables, and reads 16 n d bytes of features and about 32 n k of
logits. For 50,000 x 2048 x 1,000 that is 0.43 TFLOP and 3.2 GB: on a GPU of 34 TFLOP/s
and 3.3 TB/s at least 13 ms, bound by arithmetic; in memory 0.8 GB of features and 0.4
GB for each block of logits. For 50,000 x 512 x 10 it is 1.0 GFLOP and 0.43 GB: bound by
memory on a host.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

# Logits held at once on a device, in three or so copies: 1 GB each.
DEVICE_LOGITS = 2**27


class Value(NamedTuple):
    """The objective at a step.

    Attributes:
        loss: Mean cross-entropy in nats plus the penalty.
        gradient: (k, d + 1), in the changed variables.
        greatest: Greatest absolute entry of the gradient in the parameters themselves.
    """

    loss: float
    gradient: Float[np.ndarray, "k e"]
    greatest: float


Evaluate = Callable[[Float[np.ndarray, "k e"]], Value]


def on_host(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    l2: float,
    *,
    start: Float[np.ndarray, "k e"],
    change: Float[np.ndarray, "e e"],
) -> Evaluate:
    """The objective as a function of the step; features in float64."""

    def evaluate(step):
        loss, gradient = objective(start + step @ change, features, labels, l2)
        return Value(loss, gradient @ change.T, float(np.abs(gradient).max()))

    return evaluate


def objective(
    theta: Float[np.ndarray, "k e"],
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    l2: float,
) -> tuple[float, Float[np.ndarray, "k e"]]:
    """Loss and gradient at the parameters themselves, on the host.

    Laid out (k, n): a sum over classes adds long rows, twice as fast as (n, k).
    """
    weights, n = theta[:, :-1], len(labels)
    every = np.arange(n)
    logits = shifted_logits(theta, features)
    right = logits[labels, every]
    probabilities = np.exp(logits, out=logits)
    total = probabilities.sum(0)
    loss = (np.log(total) - right).mean() + l2 / 2 * np.square(weights).sum()
    probabilities /= total
    probabilities[labels, every] -= 1
    gradient = np.empty_like(theta)
    gradient[:, :-1] = probabilities @ features / n + l2 * weights
    gradient[:, -1] = probabilities.mean(1)
    return float(loss), gradient


def shifted_logits(
    theta: Float[np.ndarray, "k e"], features: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "k n"]:
    """Logits less their greatest over classes: exp stays within 0 and 1."""
    logits = theta[:, :-1] @ features.T
    logits += theta[:, -1:]
    logits -= logits.max(0)
    return logits


def on_device(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    l2: float,
    *,
    start: Float[np.ndarray, "k e"],
    change: Float[np.ndarray, "e e"],
    logits: int = DEVICE_LOGITS,
) -> Evaluate:
    """As ``on_host``, on JAX's default device; the features stay there.

    Args:
        features: Any float; float64 on the device.
        labels: Values 0 to k - 1.
        l2: Strength of the penalty.
        start: Parameters of the step 0.
        change: Of the variables.
        logits: Greatest number held at once: rows are taken in blocks of so many.
    """
    n, rows = len(labels), max(1, logits // len(start))
    with jax.enable_x64(True):
        origin, basis = jnp.asarray(start), jnp.asarray(change)
        penalty, total = jnp.asarray(l2), jnp.asarray(float(n))
        blocks = [
            (
                jnp.asarray(features[first : first + rows], jnp.float64),
                jnp.asarray(labels[first : first + rows], jnp.int32),
            )
            for first in range(0, n, rows)
        ]

    def evaluate(step):
        with jax.enable_x64(True):
            theta = _move(origin, jnp.asarray(step), basis)
            loss, gradient = _penalty(theta, penalty)
            for block in blocks:
                loss, gradient = _add(loss, gradient, theta, *block, total)
            changed, greatest = _finish(gradient, basis)
            return Value(float(loss), np.asarray(changed), float(greatest))

    return evaluate


@jax.jit
def _move(origin: Array, step: Array, basis: Array) -> Array:
    return origin + step @ basis


@jax.jit
def _penalty(theta: Array, l2: Array) -> tuple[Array, Array]:
    weights = theta.at[:, -1].set(0)
    return l2 / 2 * jnp.square(weights).sum(), l2 * weights


@jax.jit
def _add(
    loss: Array, gradient: Array, theta: Array, features: Array, labels: Array, n: Array
) -> tuple[Array, Array]:
    """Adds the part of a block of rows, which is (b, k) here as devices have it."""
    logits = features @ theta[:, :-1].T + theta[None, :, -1]
    log_p = jax.nn.log_softmax(logits)
    right = jax.nn.one_hot(labels, len(theta), dtype=log_p.dtype)
    loss -= (right * log_p).sum() / n
    slope = (jnp.exp(log_p) - right) / n
    gradient = gradient.at[:, :-1].add(slope.T @ features)
    return loss, gradient.at[:, -1].add(slope.sum(0))


@jax.jit
def _finish(gradient: Array, basis: Array) -> tuple[Array, Array]:
    return gradient @ basis.T, jnp.abs(gradient).max()
