"""Direct extraction (Dziedzic et al. 2022): representations approach the answers."""

from sslx.attacks.attack import Theft
from sslx.attacks.copying import copying, make_student, through
from sslx.objectives.siamese import Views
from sslx.types import Encoder, Objective


def direct(encoder: Encoder, views: Views, theft: Theft, *, train_on: str) -> Objective:
    """The objective; a batch is ``{"asked" or "images", "answers"}``.

    "On the Difficulty of Defending Self-Supervised Learning against Model Extraction"
    (ICML 2022), without the head: the config's loss between trunk and answers. Their
    code asks anew each epoch and passes several views in one batch; here answers are
    stored, and each view is a pass of its own.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: The loss and the width of the answers.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
    """
    student = make_student(encoder, theft)
    return copying(student, through(views, train_on), theft)
