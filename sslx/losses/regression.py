"""Losses that compare the two representations of an image directly."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from sslx.losses.contrastive import unit
from sslx.types import Metrics


def mse(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Mean squared error over batch and features, neither side normalised.

    The direct extraction of Dziedzic et al. 2022 ("On the Difficulty of Defending
    Self-Supervised Learning against Model Extraction"). Range [0, inf); finite while
    the squares of the inputs are.
    """
    return jnp.mean(jnp.square(student - teacher)), {}


def cosine(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Minus the cosine similarity, mean over the batch; range [-1, 1].

    SimSiam's D (Chen and He 2021, equation 1), here without its stop-gradient.
    """
    return -jnp.mean(jnp.sum(unit(student) * unit(teacher), axis=1)), {}


def regression(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Squared distance of the normalised rows, 2 - 2 cosine; mean over the batch.

    BYOL's loss in one direction (Grill et al. 2020, equation 2). Range [0, 4].
    """
    distance = jnp.sum(jnp.square(unit(student) - unit(teacher)), axis=1)
    return jnp.mean(distance), {}
