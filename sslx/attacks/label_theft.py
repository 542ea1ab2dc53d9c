"""The baseline of classifier extraction: training on the classes that were answered."""

import jax.numpy as jnp
import optax

from sslx.attacks.attack import Theft
from sslx.attacks.copying import copying, make_student, over_views, through
from sslx.objectives.siamese import Views
from sslx.types import Encoder, Objective, refuse_if


def label_theft(encoder: Encoder, views: Views, theft: Theft) -> Objective:
    """The objective; a batch is ``{"asked", "answers"}``, answers (b, v, 1) of classes.

    The label-stealing baseline of Dziedzic et al. 2022, the oldest form of extraction
    (Tramer et al. 2016): mean cross-entropy of a linear classifier on the stealer's
    features of the view that was asked, through ``views``, with the class that was
    answered. The classifier is thrown away. No difference between classes: log k.
    Metrics: ``agreement``, the share of views put in the victim's class.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Number of classes.

    Raises:
        UserError: The service knows no classes.
    """
    refuse_if(
        not theft.classes,
        "attack 'label_theft' needs a service that answers classes",
    )

    def loss(logits, answer):
        labels = answer[:, 0].astype(jnp.int32)
        cross = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        agreement = jnp.mean(jnp.argmax(logits, axis=1) == labels)
        return jnp.mean(cross), {"agreement": agreement}

    student = make_student(encoder, theft, (theft.classes,))
    return copying(student, through(views, "asked"), theft, over_views(loss))
