"""Losses that compare each image's pair of representations with all other images.

All stack the rows of an image one after the other, batch-major: of pairs, rows 2i and
2i+1 belong to image i. With the sharded axis leading, each device computes its own
anchors; stacked the other way round the value is the same, but every device computes
the whole batch.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp
from jaxtyping import Bool, Float, Integer

from sslx.registry import traits
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


def _similarity(rows: Float[Array, "n d"], temperature: float) -> Float[Array, "n n"]:
    """Inner products over the temperature; -inf of a row with itself."""
    return _without_self(jnp.matmul(rows, rows.T, precision=_EXACT) / temperature)


def _nearest(
    logits: Float[Array, "n n"], positive: Bool[Array, "n n"]
) -> tuple[Float[Array, ""], Metrics]:
    """Mean cross-entropy; ``positive`` is True at the one right column of each row."""
    right = jnp.sum(jnp.where(positive, logits, 0), axis=1)
    others = jnp.max(jnp.where(positive, -jnp.inf, logits), axis=1)
    loss = jnp.mean(logsumexp(logits, axis=1) - right)
    return loss, {"top1": jnp.mean(right > others)}


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
    return _nearest(_similarity(rows, temperature), _partner(rows.shape[0]))


@traits(paired=True)
def infonce_reference(
    student: Float[Array, "n d"],
    teacher: Float[Array, "n d"],
    *,
    temperature: float,
) -> tuple[Float[Array, ""], Metrics]:
    """InfoNCE as published by Dziedzic et al. 2022 for two views: a wrong positive.

    Rows 2i and 2i+1 are the two views of image i, so each anchor has three rows of
    its own image. The code takes the first of them, in the order student 1, student 2,
    teacher 1, teacher 2, as the class of a cross-entropy over all 4b - 1 other rows:
    student 2 for student 1, student 1 for all others. So the remaining two are pushed
    away like other images, the student's anchors never seek the teacher, and what the
    teacher knows enters only through its own anchors, which draw student 1. ``infonce``
    on each view by itself is what was meant. Metrics as ``infonce``.
    """
    views = [x.reshape(-1, 2, x.shape[-1]) for x in (student, teacher)]
    rows = unit(jnp.concatenate(views, axis=1).reshape(-1, student.shape[-1]))
    n = rows.shape[0]
    first = jnp.arange(n) // 4 * 4  # student 1 of each row's image
    target = jnp.where(jnp.arange(n) == first, first + 1, first)
    positive = jnp.arange(n)[None, :] == target[:, None]
    return _nearest(_similarity(rows, temperature), positive)


@traits(labels=True, may_be_0=("labels",))
def supcon(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    temperature: float,
    labels: Integer[Array, " b"],
) -> tuple[Float[Array, ""], Metrics]:
    """Supervised contrastive loss: mean over 2b anchors, the sum outside the log.

    Positives of an anchor: all other rows with its label, both parties', so that there
    is one at least. -mean over anchors of the mean over positives p of
    log(exp(z_i z_p / T) / sum_{a != i} exp(z_i z_a / T)) with z the normalised rows and
    T the ``temperature`` (> 0). Khosla et al. 2020, equation 2; their code, and
    that of Dziedzic et al. 2022, multiplies by T / 0.07, 1 at the temperature it uses.
    The latter works for two views of each image only, this for one. Labels all
    different: ``infonce``; all rows equal: log(2b - 1).
    """
    rows = unit(_pairs(student, teacher))
    logits = _similarity(rows, temperature)
    both = jnp.stack([labels, labels], axis=1).reshape(-1)  # as the rows
    same = both[:, None] == both[None, :]
    same = same & ~jnp.eye(rows.shape[0], dtype=bool)
    positive = jnp.sum(jnp.where(same, logits, 0), axis=1) / jnp.sum(same, axis=1)
    return jnp.mean(logsumexp(logits, axis=1) - positive), {}


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
