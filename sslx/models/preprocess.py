"""What is done to images before an encoder sees them."""

import jax
import jax.numpy as jnp


def normalise(images: jax.Array, mean: list[float], std: list[float]) -> jax.Array:
    """float32 images (b, h, w, c) in [0, 1] to what an encoder takes."""
    shift, scale = (
        jnp.asarray(v, jnp.float32).reshape(1, 1, 1, -1) for v in (mean, std)
    )
    return (images - shift) / scale
