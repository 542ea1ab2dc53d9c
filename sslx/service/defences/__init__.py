"""Defences by name; one file each, ``defence.py`` has their contract."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sslx.registry import pick
from sslx.service.defences.chain import chain
from sslx.service.defences.defence import Defence
from sslx.service.defences.near_duplicates import near_duplicates
from sslx.service.defences.noise import noise
from sslx.service.defences.none import none
from sslx.service.defences.project import project
from sslx.service.defences.reference import (
    near_duplicates_reference,
    noise_reference,
    noise_reference_rda,
    round_reference,
    top_k_reference,
)
from sslx.service.defences.round import rounded
from sslx.service.defences.top_k import top_k
from sslx.service.defences.truncate import truncate
from sslx.types import refuse_if

DEFENCES: dict[str, Callable[..., Defence]] = {
    "none": none,
    "noise": noise,
    "round": rounded,
    "top_k": top_k,
    "truncate": truncate,
    "project": project,
    "near_duplicates": near_duplicates,
    # With published numbers, which are absolute.
    "noise_reference": noise_reference,
    "near_duplicates_reference": near_duplicates_reference,
    "noise_reference_rda": noise_reference_rda,
    "round_reference": round_reference,
    "top_k_reference": top_k_reference,
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
