"""Cont-Steal (Sha et al., CVPR 2023): answers and stealer contrasted over the batch."""

from functools import partial

from jax import Array
from jaxtyping import Float

from sslx.attacks.attack import Theft
from sslx.attacks.contrast import discriminate
from sslx.attacks.copying import (
    copying,
    make_student,
    over_views,
    several,
    through,
    untouched,
)
from sslx.losses import infonce
from sslx.losses.contrastive import unit
from sslx.objectives.siamese import Views
from sslx.registry import pick
from sslx.types import Encoder, Metrics, Objective


def cont_steal_loss(
    student: Float[Array, "b d"], answers: Float[Array, "b d"], *, temperature: float
) -> tuple[Float[Array, ""], Metrics]:
    """Mean of -log(e^{y_i s_i} / (sum_{j != i} e^{y_i s_j} + e^{s_i s_j})).

    Rows of unit length, products over ``temperature``; the anchors are the answers y.
    Pairs of two answers do not occur. As RDA's authors have re-implemented it.
    """
    s, y = unit(student), unit(answers)
    return discriminate(y, s, s, temperature=temperature), {}


FORMS = {"paper": cont_steal_loss, "released": infonce}


def cont_steal(
    encoder: Encoder, views: Views, theft: Theft, *, form: str, temperature: float
) -> Objective:
    """The objective; a batch is ``{"images" or "asked", "answers"}``.

    "Can't Steal? Cont-Steal! Contrastive Stealing Attacks Against Image Encoders" names
    two losses. Form "paper": ``cont_steal_loss`` between the answer to the asked view
    and the stealer's embedding of another view of the image. That the two views differ
    and which pairs are negatives is the paper's idea; that the positive is left out of
    the denominator is taken from the code of RDA (Wu et al. 2024) and not verified
    against the paper's own text. Form "released": their own code, NT-Xent over all 2b
    rows, answers' pairs included, on the very view that was asked, untouched
    (``views`` has no part in it).

    Their code asks for a new view at every step; here answers are stored. Several views
    asked: the mean over them.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Width of the answers.
        form: "paper" or "released".
        temperature: 0.07 in the paper, 0.5 in their code.
    """
    loss = partial(pick(FORMS, form, "form of Cont-Steal"), temperature=temperature)
    sight = through(views, "image") if form == "paper" else untouched(theft)

    def match(student, answers, labels):
        several(answers.shape[0], "attack 'cont_steal'")
        return over_views(loss)(student, answers, labels)

    return copying(make_student(encoder, theft), sight, theft, match)
