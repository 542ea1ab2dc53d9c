"""Losses that compare each image's pair of representations with all other images.

Both stack the pairs batch-major: rows 2i and 2i+1 belong to image i. With the
sharded axis leading, each device computes its own anchors; stacked the other way
round the value is the same, but every device computes the whole batch.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp
from jaxtyping import Bool, Float

from sslx.types import Metrics

# The accelerators' default rounds the inputs of a product to bfloat16, which a
# temperature of 0.07 turns into errors of several per cent.
_EXACT = jax.lax.Precision.HIGHEST


def unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows divided by max(their L2 norm, 1e-12), without overflow for huge rows.

    A row is first divided by its largest entry s. Where s >= 1e-12 what is left has a
    norm of at least 1; below, s is taken as 1e-12: one clamp at 1 serves both cases.
    """
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    scaled = x / jax.lax.stop_gradient(jnp.maximum(largest, 1e-12))
    square = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.maximum(square, 1.0))


def _pairs(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> Float[Array, "2*b d"]:
    return jnp.stack([student, teacher], axis=1).reshape(-1, student.shape[-1])


def _partner(n: int) -> Bool[Array, "n n"]:
    """True where column j is the other representation of row i's image."""
    return jnp.eye(n, dtype=bool)[jnp.arange(n) ^ 1]


def _without_self(logits: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.where(jnp.eye(logits.shape[0], dtype=bool), -jnp.inf, logits)


def infonce(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, temperature: float
) -> tuple[Float[Array, ""], Metrics]:
    """InfoNCE in the form of NT-Xent: mean over 2b anchors.

    Each of the 2b rows is an anchor; its positive is the other representation of the
    same image, its negatives are the 2b - 2 rows of other images, both parties'. Cosine
    similarity over ``temperature`` (> 0), cross-entropy. SimCLR's equation 1 (Chen et
    al. 2020) with two views of one network; the extraction loss of Dziedzic et al. 2022
    with the stealer as student and the victim as teacher. All rows equal:
    log(2b - 1).

    Metrics: ``top1``, the fraction of anchors that are closest to their positive.
    """
    rows = unit(_pairs(student, teacher))  # (2b, d)
    logits = _without_self(jnp.matmul(rows, rows.T, precision=_EXACT) / temperature)
    partner = _partner(rows.shape[0])
    positive = jnp.sum(jnp.where(partner, logits, 0), axis=1)
    others = jnp.max(jnp.where(partner, -jnp.inf, logits), axis=1)
    loss = jnp.mean(logsumexp(logits, axis=1) - positive)
    return loss, {"top1": jnp.mean(positive > others)}


def softnn(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, temperature: float
) -> tuple[Float[Array, ""], Metrics]:
    """Soft nearest neighbour loss: mean over 2b anchors, rows not normalised.

    -mean log(1e-9 + exp(-d_pos / T) / sum_{j != i} exp(-d_ij / T)) with d the squared
    Euclidean distance and T the ``temperature`` (> 0, in squared feature units).
    Frosst et al. 2019, equation 1, with the image as the class, as Dziedzic et al. 2022
    use it; here with log-sum-exp, so that distant rows do not underflow to 0/0.
    Range [0, -log 1e-9].
    """
    rows = _pairs(student, teacher)
    # Distances do not change with the origin; a central one keeps the difference of
    # large squares exact, and one scale for all rows keeps the squares in range.
    rows = rows - jax.lax.stop_gradient(jnp.mean(rows, axis=0, keepdims=True))
    largest = jnp.max(jnp.abs(rows))
    scale = jax.lax.stop_gradient(jnp.maximum(largest, jnp.finfo(rows.dtype).tiny))
    rows = rows / scale
    square = jnp.sum(jnp.square(rows), axis=1)
    inner = jnp.matmul(rows, rows.T, precision=_EXACT)
    distance = jnp.maximum(square[:, None] + square[None, :] - 2 * inner, 0)
    # d / T beyond this ceiling is as good as infinite; its square root stays finite.
    ceiling = jnp.sqrt(jnp.finfo(rows.dtype).max) / (4 * rows.shape[1])
    factor = jnp.square(jnp.minimum(scale / jnp.sqrt(temperature), jnp.sqrt(ceiling)))
    logits = _without_self(-distance * factor)
    partner = _partner(rows.shape[0])
    positive = jnp.sum(jnp.where(partner, logits, 0), axis=1)
    log_ratio = positive - logsumexp(logits, axis=1)
    floor = jnp.log(jnp.asarray(1e-9, rows.dtype))
    return -jnp.mean(jnp.logaddexp(log_ratio, floor)), {}
