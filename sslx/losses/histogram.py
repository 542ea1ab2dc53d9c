"""Losses that read each representation as a histogram over the feature index.

Both depend on the order of the features, which means nothing in a network, and make
sense for non-negative entries only: what may be negative has no such histogram.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from sslx.registry import traits
from sslx.types import Metrics


def _histogram(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Rows divided by (their sum + 1e-14), without overflow for huge rows."""
    largest = jnp.max(jnp.abs(x), axis=1, keepdims=True)
    scale = jax.lax.stop_gradient(jnp.maximum(largest, 1e-14))
    x = x / scale
    return x / (jnp.sum(x, axis=1, keepdims=True) + 1e-14 / scale)


def _between(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> Float[Array, "b d"]:
    """The difference of the two cumulative distributions."""
    # Subtracted first: the sums of a difference lose less than a difference of sums.
    return jnp.cumsum(_histogram(student) - _histogram(teacher), axis=1)


@traits(non_negative=True)
def wasserstein(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Wasserstein-1 distance of two histograms over the features; mean over the batch.

    sum_k |P_k - Q_k| with P and Q the cumulative sums of the rows, each divided by
    (its sum + 1e-14): the distance in feature places between the two masses. Both sides
    non-negative. As Dziedzic et al. 2022 use it for extraction; it compares an image's
    two representations, not two sets of them. Does not see the scale of a row.
    Range [0, d - 1].
    """
    distance = jnp.sum(jnp.abs(_between(student, teacher)), axis=1)
    return jnp.mean(distance), {}


@traits(non_negative=True)
def energy(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Energy distance of two histograms over the features; mean over the batch.

    sqrt(2 sum_k (P_k - Q_k)^2), with P and Q as in ``wasserstein``; both sides
    non-negative. Szekely and Rizzo 2013, in the one-dimensional form; beside
    ``wasserstein`` in the code of Dziedzic et al. 2022. Range [0, sqrt(2 (d - 1))];
    the gradient is finite at equal histograms, too.
    """
    square = 2 * jnp.sum(jnp.square(_between(student, teacher)), axis=1)
    # The root's gradient at 0 is infinite: there, the root of a constant instead.
    apart = square > 0
    root = jnp.sqrt(jnp.where(apart, square, 1))
    return jnp.mean(jnp.where(apart, root, 0)), {}
