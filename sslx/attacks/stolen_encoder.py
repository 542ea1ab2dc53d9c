"""StolenEncoder (Liu et al., CCS 2022): the image and its views meet one answer."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from sslx.attacks.attack import Theft
from sslx.attacks.copying import Sight, copying, make_student, mean_of
from sslx.losses.contrastive import unit
from sslx.objectives.siamese import Views
from sslx.registry import pick, traits
from sslx.types import Encoder, Metrics, Objective


def _l2(a, b):
    square = jnp.sum(jnp.square(a - b), axis=-1)
    apart = square > 0  # at no distance the root has no slope; 0 is one of the choices
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


def _l1(a, b):
    return jnp.sum(jnp.abs(a - b), axis=-1)


def _cosine(a, b):
    return -jnp.sum(a * b, axis=-1)


DISTANCES = {"l2": _l2, "l1": _l1, "cosine": _cosine}


def stolen_encoder_loss(
    student: Float[Array, "b n d"],
    answers: Float[Array, "b d"],
    *,
    weight: float,
    distance: str,
) -> tuple[Float[Array, ""], Metrics]:
    """Mean over images of D(f_0, y) + weight * mean over j >= 1 of D(f_j, y).

    D is the Euclidean distance (not squared), the city-block distance or minus the
    cosine of rows of unit length. The code sums the first two over the batch; here all
    are means, so the learning rate does not depend on its size.

    Args:
        student: Row 0 of the image as it was asked, the others of views of it.
        answers: The victim's answer to it.
        weight: Of the augmented term, lambda in the paper.
        distance: "l2", "l1" or "cosine".
    """
    y = unit(answers)[:, None]
    near = pick(DISTANCES, distance, "distance")(jax.vmap(unit)(student), y)
    same, moved = jnp.mean(near[:, 0]), jnp.mean(near[:, 1:])
    return same + weight * moved, {"same": same, "augmented": moved}


@traits(may_be_0=("weight",))
def stolen_encoder(
    encoder: Encoder,
    views: Views,
    theft: Theft,
    *,
    weight: float,
    augmented: int,
    distance: str,
) -> Objective:
    """The objective; a batch is ``{"asked", "answers"}``.

    "StolenEncoder: Stealing Pre-trained Encoders in Self-supervised Learning": each
    image is asked once, and f(x) as well as f(A_j(x)) approach the one answer to x. x
    is the view that was asked, untouched; A_j(x) are ``augmented`` views of it, new at
    each step, each a pass of its own (preset "stolen_encoder" is the code's). Several
    views asked: the mean over them.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Width of the answers.
        weight: As ``stolen_encoder_loss``; 20 in the paper's scripts.
        augmented: Views A_j in a step, k in the paper; 1 or more.
        distance: As ``stolen_encoder_loss``.
    """
    pick(DISTANCES, distance, "distance")  # wrong ones are found before the start

    def look(key, batch):
        assert theft.plain is not None, "Theft.plain is missing"
        asked, each = batch["asked"], []
        for i, one in enumerate(jax.random.split(key, asked.shape[1])):
            each.append(theft.plain(asked[:, i]))
            keys = jax.random.split(one, augmented)
            each += [views(k, asked[:, i])[:, 0] for k in keys]
        return jnp.stack(each, axis=1)

    def match(student, answers, labels):
        b, v, _ = answers.shape
        student = student.reshape(b, v, 1 + augmented, -1)
        return mean_of(
            stolen_encoder_loss(
                student[:, i], answers[:, i], weight=weight, distance=distance
            )
            for i in range(v)
        )

    return copying(make_student(encoder, theft), Sight("asked", look), theft, match)
