"""A head of the stealer's own between its representation and the answers."""

from sslx.attacks.attack import Theft
from sslx.attacks.copying import copying, make_student, through
from sslx.objectives.siamese import Views
from sslx.registry import traits
from sslx.types import Encoder, Objective


@traits(may_be_0=("hidden",))
def own_head(
    encoder: Encoder, views: Views, theft: Theft, *, train_on: str, hidden: int
) -> Objective:
    """The objective; a batch is ``{"asked" or "images", "answers"}``.

    The fourth variant of Dziedzic et al. 2022 (their option ``stolenhead``): two linear
    layers with a ReLU on the trunk, thrown away afterwards, are compared with the
    representations that the service answers.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: The loss and the width of the answers.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
        hidden: Width of the head's hidden layer; 0: as wide as the features.
    """
    student = make_student(encoder, theft, (hidden, theft.answer_dim))
    return copying(student, through(views, train_on), theft)
