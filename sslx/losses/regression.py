"""Losses that compare the two representations of an image directly."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

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
