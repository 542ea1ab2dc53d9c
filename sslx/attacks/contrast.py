"""The contrast that Cont-Steal and RDA share: positives are no alternatives."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp
from jaxtyping import Float

# Cosines over a small temperature are not to be rounded to bfloat16.
_EXACT = jax.lax.Precision.HIGHEST


def discriminate(
    anchor: Float[Array, "b d"],
    positive: Float[Array, "b d"],
    student: Float[Array, "b d"],
    *,
    temperature: float,
) -> Float[Array, ""]:
    """Mean over i of log(sum_{j != i} e^{a_i p_j} + e^{s_i s_j}) - a_i p_i; b > 1.

    All products over ``temperature``; rows come as they are to be compared. The sum
    holds the pairs of anchors with other images' positives, and of the student's with
    each other, but not the positive pair: the value may be negative, and has no floor
    as the temperature falls.
    """

    def others(a, b):
        same = jnp.eye(a.shape[0], dtype=bool)
        products = jnp.matmul(a, b.T, precision=_EXACT) / temperature
        return logsumexp(jnp.where(same, -jnp.inf, products), axis=1)

    near = jnp.sum(anchor * positive, axis=1) / temperature
    far = jnp.logaddexp(others(anchor, positive), others(student, student))
    return jnp.mean(far - near)
