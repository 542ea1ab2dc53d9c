"""Defences by name; one file each, ``defence.py`` has their contract."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sslx.registry import pick
from sslx.service.defences.chain import chain
from sslx.service.defences.defence import Defence
from sslx.service.defences.none import none
from sslx.service.defences.proof_of_work import proof_of_work
from sslx.service.defences.saliency import saliency, saliency_reference
from sslx.types import refuse_if

DEFENCES: dict[str, Callable[..., Defence]] = {
    "none": none,
    "saliency": saliency,
    "saliency_reference": saliency_reference,
    "proof_of_work": proof_of_work,
}


def make_defence(
    names: Sequence[str], numbers: Mapping[str, Mapping[str, Any]]
) -> Defence:
    """The defence of a name, or a chain of several, the first next to the victim.

    Args:
        names: Entries of the table, or MODULE:NAME: functions of their numbers.
        numbers: Of those that have some.

    Raises:
        UserError: A name is unknown, numbers are wrong, or parts do not fit.
    """
    made = {}
    for name in names:
        entry = pick(DEFENCES, name, "defence", own=True)
        made[name] = entry(**numbers.get(name, {}))
        refuse_if(
            not isinstance(made[name], Defence),
            f"service.defence: {name!r} makes no Defence of its numbers",
        )
    return chain(made)
