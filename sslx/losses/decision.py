"""Losses that read features as decisions: yes or no of each, or one among them all.

What the teacher decides is the target of a cross-entropy on the student's logits.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from sslx.registry import traits
from sslx.types import Metrics


def _binary(
    logits: Float[Array, "b d"], target: Bool[Array, "b d"]
) -> Float[Array, ""]:
    """Cross-entropy of sigmoid(logits) with 0 or 1, mean over batch and features."""
    return jnp.mean(jax.nn.softplus(jnp.where(target, -logits, logits)))


@traits(quantiles=("threshold",), may_be_0=("threshold",))
def bce(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    threshold: Float[ArrayLike, ""] | Float[ArrayLike, " d"],
) -> tuple[Float[Array, ""], Metrics]:
    """Binary cross-entropy: is each of the teacher's features above its threshold?

    Target teacher > threshold, logit student - threshold, mean over batch and features.
    The extraction loss of Dziedzic et al. 2022 as it was meant (see ``bce_reference``).

    The same threshold is taken from the student, because features after a ReLU are not
    negative: as logits by themselves they could say "above" only. Less the threshold,
    a student equal to its teacher decides everything right; at a threshold of 0, where
    "below" means silent, a student after a ReLU does best to be silent, too.
    ``threshold`` is one number or one a feature, in the teacher's units, such as the
    median of its answers. Range [0, inf); student at the threshold: log 2.

    Metrics: ``agreement``, the fraction of features on the teacher's side.
    """
    threshold = jnp.broadcast_to(jnp.asarray(threshold, student.dtype), student.shape)
    target = teacher > threshold
    logits = student - threshold
    return _binary(logits, target), {"agreement": jnp.mean((logits > 0) == target)}


def bce_reference(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Binary cross-entropy as published by Dziedzic et al. 2022: nearly all targets 1.

    Target round(sigmoid(teacher)), logit the student as it is. A teacher after a ReLU
    has sigmoid >= 0.5, which rounds to 1 for whatever is above 0 and to 0 for an exact
    0 only (halves go to the even side): the target hardly depends on the image. What
    the student learns is to make every feature large.
    """
    return _binary(student, jnp.round(jax.nn.sigmoid(teacher)) == 1), {}


def _cross_entropy(
    logits: Float[Array, "b d"], target: Float[Array, "b d"]
) -> Float[Array, ""]:
    """-sum_k softmax(target)_k log softmax(logits)_k, mean over the batch."""
    log_p = jax.nn.log_softmax(logits, axis=1)
    return -jnp.mean(jnp.sum(jax.nn.softmax(target, axis=1) * log_p, axis=1))


def soft_cross_entropy(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Cross-entropy of the student's softmax with the teacher's; mean over the batch.

    -sum_k softmax(teacher)_k log softmax(student)_k, features as classes, temperature
    1: distillation (Hinton et al. 2015), an extraction loss of Dziedzic et al. 2022.
    Adding a number to all features of an image changes nothing. Range [0, inf), least
    at the entropy of the teacher's softmax; constant student: log d.
    """
    return _cross_entropy(student, teacher), {}


def soft_cross_entropy_reference(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"]
) -> tuple[Float[Array, ""], Metrics]:
    """Soft cross-entropy as published by Dziedzic et al. 2022: blind to the teacher.

    The target is the softmax of the student itself, with the gradient through it: the
    loss is the entropy of the student's own softmax, which training drives to 0 by
    making one feature of each image large. ``teacher`` is not looked at.
    """
    del teacher
    return _cross_entropy(student, student), {}
