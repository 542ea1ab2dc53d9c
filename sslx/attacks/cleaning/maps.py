"""Answers of several accounts, brought to what one of them was answered."""

import numpy as np

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.attacks.maps import (
    carried,
    carried_bits,
    diagonal,
    least_squares,
    matched,
    procrustes,
)
from sslx.registry import pick, traits

RIDGE = 1e-3  # of the maps that have more numbers than anchors
KINDS = {
    "dense": lambda ours, theirs: least_squares(ours, theirs, ridge=RIDGE),
    "diagonal": diagonal,
    "orthogonal": procrustes,
    "permuted": matched,
    "bits": lambda ours, theirs: least_squares(ours, theirs, ridge=RIDGE),
}


@traits(anchors=True)
def maps(given: Answered, help: Help, *, kind: str) -> Answered:
    """All answers as the first account's, by the map that the anchors tell.

    Against transforms of accounts: ``kind`` is what a thief takes them for, a name of
    ``KINDS``. How many anchors are exact: ``sslx.attacks.maps``.
    """
    fit = pick(KINDS, kind, "kind of map")
    if help.anchors is None:
        raise ValueError("maps without anchors")
    answers = given.answers.copy()
    for account in range(1, len(help.anchors)):
        own = help.accounts == account
        if own.any():
            found = fit(help.anchors[account], help.anchors[0])
            to = carried_bits if kind == "bits" else carried
            answers[own] = to(found, answers[own]).astype(np.float32)
    return given._replace(answers=answers)
