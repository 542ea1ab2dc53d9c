"""Extraction from a service that answers with its projection head's output."""

from sslx.attacks.attack import Theft
from sslx.attacks.own_head import own_head
from sslx.objectives.siamese import Views
from sslx.registry import traits
from sslx.types import Encoder, Objective


@traits(may_be_0=("hidden",))
def access_head(
    encoder: Encoder, views: Views, theft: Theft, *, train_on: str, hidden: int
) -> Objective:
    """The objective; a batch is ``{"asked" or "images", "answers"}``.

    The head-access attack of Dziedzic et al. 2022 (their options ``victimhead`` and
    ``stolenhead``): answers are what the victim was trained with, and the stealer has a
    head of SimCLR's form, two linear layers with a ReLU. Only its trunk is kept.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: The loss and the width of the answers.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
        hidden: Width of the head's hidden layer; 0: as wide as the features.
    """
    return own_head(encoder, views, theft, train_on=train_on, hidden=hidden)
