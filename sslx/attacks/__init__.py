"""Attacks: what is trained on stored answers, and what must be true of them.

Asking and training are apart: a plan is made and paid for before any training, and the
stealer trains from stored answers without the victim. Every objective is called
``objective(encoder, views, theft, **numbers)`` and starts from ``theft.trunk`` where
that is given.
"""

from sslx.attacks.access_head import access_head
from sslx.attacks.attack import Attack, Match, Theft
from sslx.attacks.cont_steal import cont_steal
from sslx.attacks.direct import direct
from sslx.attacks.knockoff import knockoff
from sslx.attacks.label_theft import label_theft
from sslx.attacks.own_head import own_head
from sslx.attacks.rda import rda
from sslx.attacks.recreate_head import head, recreate_head
from sslx.attacks.stolen_encoder import stolen_encoder
from sslx.attacks.symmetrized import symmetrized
from sslx.attacks.warm_start import warm_start
from sslx.registry import pick

__all__ = ["ATTACKS", "Attack", "Match", "Theft", "attack_of"]

_VECTORS = ("representation", "projection")

ATTACKS: dict[str, Attack] = {
    "access_head": Attack(access_head, outputs=("projection",), through_head=True),
    "cont_steal": Attack(cont_steal, _VECTORS, takes_loss=False),
    "direct": Attack(direct, _VECTORS),
    "knockoff": Attack(knockoff, outputs=("probabilities",), takes_loss=False),
    "label_theft": Attack(label_theft, outputs=("label",), takes_loss=False),
    "own_head": Attack(own_head, through_head=True),
    "rda": Attack(
        rda,
        _VECTORS,
        takes_loss=False,
        least_views=2,
        passes=lambda numbers, views: numbers["train_views"],
    ),
    "recreate_head": Attack(recreate_head, through_head=True, least_views=2, head=head),
    "ssl_only": Attack(None, takes_loss=False, warm=True),
    "stolen_encoder": Attack(
        stolen_encoder,
        _VECTORS,
        takes_loss=False,
        passes=lambda numbers, views: views * (1 + numbers["augmented"]),
    ),
    "symmetrized": Attack(symmetrized, _VECTORS, takes_loss=False, least_views=2),
    "warm_start": Attack(warm_start, _VECTORS, warm=True),
}


def attack_of(name: str) -> Attack:
    """The attack of a name, of the table or MODULE:NAME; a UserError if none is."""
    return pick(ATTACKS, name, "attack", own=True)
