"""Direct extraction by a stealer that first trained without labels on its pool."""

from sslx.attacks.attack import Theft
from sslx.attacks.direct import direct
from sslx.objectives.siamese import Views
from sslx.types import Encoder, Objective


def warm_start(
    encoder: Encoder, views: Views, theft: Theft, *, train_on: str
) -> Objective:
    """``direct`` (Dziedzic et al. 2022) from ``theft.trunk``, trained without a query.

    Ours, no paper's: it shows what queries add to the self-supervised training that
    the attacker could do anyway (attack "ssl_only").

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: The loss, the width of the answers and the trunk.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
    """
    objective = direct(encoder, views, theft, train_on=train_on)

    def init(key, batch):
        assert theft.trunk is not None, "Theft.trunk is missing: a cold warm start"
        return objective.init(key, batch)

    return objective._replace(init=init)
