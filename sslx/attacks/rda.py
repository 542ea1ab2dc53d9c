"""RDA (Wu et al., ECCV 2024): refine answers to prototypes, discriminate and align."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from sslx.attacks.attack import Theft
from sslx.attacks.contrast import discriminate
from sslx.attacks.copying import copying, make_student, mean_of, several, through
from sslx.losses.contrastive import unit
from sslx.objectives.siamese import Views
from sslx.registry import traits
from sslx.types import Encoder, Metrics, Objective

# Neither logarithm of the second term is taken of less.
FLOOR = 1e-12


def prototypes(answers: Float[Array, "b v d"]) -> Float[Array, "b d"]:
    """The mean over views of answers brought to unit length; its length is at most 1.

    Not brought to unit length again, as in the authors' code.
    """
    return jnp.mean(jax.vmap(unit)(answers), axis=1)


def rda_loss(
    student: Float[Array, "b d"],
    prototype: Float[Array, "b d"],
    *,
    contrast: float,
    align: float,
    temperature: float,
) -> tuple[Float[Array, ""], Metrics]:
    """Returns contrast * L_con + align * L_align, means over the batch; b > 1.

    L_con = -log(e^{x_i p_i} / (sum_{j != i} e^{x_i p_j} + e^{x_i x_j})), products over
    ``temperature``; L_align = -log((cos(x_i, p_i) + 1) / ||x_i - p_i||^2). x are the
    student's rows of unit length. L_align falls without end as x nears p: here distance
    and numerator are taken as 1e-12 where they are less, and have no gradient there; a
    prototype of zeros has cosine 0. The authors' code divides without a guard.
    """
    x = unit(student)
    apart = discriminate(x, prototype, x, temperature=temperature)
    distance = jnp.sum(jnp.square(x - prototype), axis=1)
    alike = jnp.sum(x * unit(prototype), axis=1) + 1
    near = jnp.log(jnp.maximum(distance, FLOOR)) - jnp.log(jnp.maximum(alike, FLOOR))
    near = jnp.mean(near)
    return contrast * apart + align * near, {"contrast": apart, "align": near}


@traits(may_be_0=("contrast", "align"))
def rda(
    encoder: Encoder,
    views: Views,
    theft: Theft,
    *,
    train_views: int,
    contrast: float,
    align: float,
    temperature: float,
) -> Objective:
    """The objective; a batch is ``{"images", "answers"}``, two answers or more.

    "Refine, Discriminate and Align: Stealing Encoders via Sample-Wise Prototypes and
    Multi-Relational Extraction": the victim is asked v views of each image once (10 in
    the code, preset "rda_prototype"); at each step, the mean of ``rda_loss`` over
    ``train_views`` new views of the image itself (preset "rda"). The code passes them
    through the stealer in one batch, with common statistics; here one after the other.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Width of the answers.
        train_views: Views of an image in a step, 5 in the code.
        contrast: Weight of L_con, alpha in the paper; 1 in the code.
        align: Weight of L_align, beta in the paper; 1 in the code.
        temperature: 0.07 in the code.
    """

    def match(student, answers, labels):
        several(answers.shape[0], "attack 'rda'")
        prototype = prototypes(answers)
        numbers = {"contrast": contrast, "align": align, "temperature": temperature}
        n = student.shape[1]
        return mean_of(rda_loss(student[:, i], prototype, **numbers) for i in range(n))

    sight = through(views, "image", train_views)
    return copying(make_student(encoder, theft), sight, theft, match)
