"""Losses on the statistics of each feature over the batch."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from sslx.losses.regression import mse
from sslx.registry import traits
from sslx.types import Metrics

# A product over the batch is a statistic: not to be rounded to bfloat16.
_EXACT = jax.lax.Precision.HIGHEST


def _standardised(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Mean 0 and variance 1 over the batch, as BatchNorm (biased, 1e-5 added)."""
    x = x - jnp.mean(x, axis=0, keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=0, keepdims=True)
    return x * jax.lax.rsqrt(variance + 1e-5)


def _off_diagonal(square: Float[Array, "d d"]) -> Float[Array, "d d"]:
    return jnp.where(jnp.eye(square.shape[0], dtype=bool), 0, square)


@traits(may_be_0=("off_diagonal",))
def barlow(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, off_diagonal: float
) -> tuple[Float[Array, ""], Metrics]:
    """Barlow Twins (Zbontar et al. 2021, equation 1): sums over features.

    sum_k (1 - C_kk)^2 + off_diagonal * sum_{k != l} C_kl^2 with C the correlation of
    the student's feature k with the teacher's l over the batch. Range [0, inf);
    constant features: d.
    """
    product = jnp.matmul(
        _standardised(student).T, _standardised(teacher), precision=_EXACT
    )
    correlation = product / student.shape[0]
    alike = jnp.sum(jnp.square(1 - jnp.diagonal(correlation)))
    return alike + off_diagonal * jnp.sum(jnp.square(_off_diagonal(correlation))), {}


@traits(paired=True, may_be_0=("off_diagonal",))
def barlow_reference(
    student: Float[Array, "n d"],
    teacher: Float[Array, "n d"],
    *,
    off_diagonal: float,
) -> tuple[Float[Array, ""], Metrics]:
    """Barlow Twins as published by Dziedzic et al. 2022: the parties never meet.

    Rows 2i and 2i+1 are the two views of image i. The code correlates the first views
    of both parties, stacked to 2b rows, with their second views in the same order: the
    student's first view meets the student's second, the teacher's the teacher's, and
    nothing asks the student to agree with the teacher, who takes part only in the
    means, deviations and sums over the 2b rows. ``barlow`` is what was meant.
    """
    first, second = (
        jnp.stack([x.reshape(-1, 2, x.shape[-1])[:, j] for x in (student, teacher)], 1)
        for j in (0, 1)
    )
    d = student.shape[-1]
    return barlow(
        first.reshape(-1, d), second.reshape(-1, d), off_diagonal=off_diagonal
    )


@traits(may_be_0=("invariance", "variance", "covariance"))
def vicreg(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    invariance: float,
    variance: float,
    covariance: float,
) -> tuple[Float[Array, ""], Metrics]:
    """VICReg (Bardes et al. 2022, equation 6); b > 1.

    invariance * s(Z, Z') + variance * [v(Z) + v(Z')] + covariance * [c(Z) + c(Z')]:
    s the squared distance as a mean over batch and features (the paper's algorithm 1;
    its equation 5 sums over features), v the mean hinge max(0, 1 - sqrt(Var + 1e-4)),
    c the squared off-diagonal covariances, summed and divided by d; both with b - 1.
    The authors' later code halves v; the paper does not. Range [0, inf), finite while
    fourth powers of the inputs are; constant and equal sides: 2 * variance * 0.99.
    """
    (std1, cov1), (std2, cov2) = map(_spread, (student, teacher))
    distance, _ = mse(student, teacher)
    value = invariance * distance + variance * (std1 + std2)
    return value + covariance * (cov1 + cov2), {
        "invariance": distance,
        "variance": std1 + std2,
        "covariance": cov1 + cov2,
    }


def _spread(x: Float[Array, "b d"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """VICReg's v and c of one side."""
    b, d = x.shape
    x = x - jnp.mean(x, axis=0, keepdims=True)
    deviation = jnp.sqrt(jnp.sum(jnp.square(x), axis=0) / (b - 1) + 1e-4)
    hinge = jnp.mean(jnp.maximum(0, 1 - deviation))
    matrix = jnp.matmul(x.T, x, precision=_EXACT) / (b - 1)
    return hinge, jnp.sum(jnp.square(_off_diagonal(matrix))) / d
