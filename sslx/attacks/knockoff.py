"""Knockoff Nets (Orekondy et al. 2019): training on the probabilities of classes."""

import jax.numpy as jnp
import optax

from sslx.attacks.attack import Theft
from sslx.attacks.copying import copying, make_student, over_views, through
from sslx.objectives.siamese import Views
from sslx.types import Encoder, Objective


def knockoff(encoder: Encoder, views: Views, theft: Theft) -> Objective:
    """The objective; a batch is ``{"asked", "answers"}``, answers (b, v, k) sum to 1.

    "Knockoff Nets: Stealing Functionality of Black-Box Models" (CVPR 2019), its random
    strategy: mean soft cross-entropy -sum_k y_k log softmax(s)_k of a linear classifier
    on the stealer's features of the view that was asked, through ``views``. The
    classifier is thrown away. Least possible: the mean entropy of the answers.
    Metrics: ``agreement``, the share of views put in the victim's class.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Number of classes as the width of the answers.
    """

    def loss(logits, answer):
        cross = optax.softmax_cross_entropy(logits, answer)
        same = jnp.argmax(logits, axis=1) == jnp.argmax(answer, axis=1)
        return jnp.mean(cross), {"agreement": jnp.mean(same)}

    student = make_student(encoder, theft, (theft.answer_dim,))
    return copying(student, through(views, "asked"), theft, over_views(loss))
