"""Defences by name; one file each, ``defence.py`` has their contract."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sslx.registry import check_block, check_sizes, code_of, pick
from sslx.service.defences.b4b import b4b
from sslx.service.defences.b4b_reference import b4b_reference, b4b_reference_simsiam
from sslx.service.defences.chain import chain
from sslx.service.defences.coverage_ratio import coverage_ratio
from sslx.service.defences.defence import Defence
from sslx.service.defences.narrowing import project, truncate
from sslx.service.defences.near_duplicates import (
    near_duplicates,
    near_duplicates_reference,
)
from sslx.service.defences.noise import noise, noise_reference, unit_noise_reference
from sslx.service.defences.none import none
from sslx.service.defences.proof_of_work import proof_of_work
from sslx.service.defences.rounding import round_reference, rounded
from sslx.service.defences.saliency import saliency, saliency_reference
from sslx.service.defences.top_k import top_k, top_k_reference
from sslx.types import refuse_if

DEFENCES: dict[str, Callable[..., Defence]] = {
    "none": none,
    "noise": noise,
    "noise_reference": noise_reference,
    "unit_noise_reference": unit_noise_reference,
    "round": rounded,
    "round_reference": round_reference,
    "top_k": top_k,
    "top_k_reference": top_k_reference,
    "truncate": truncate,
    "project": project,
    "near_duplicates": near_duplicates,
    "near_duplicates_reference": near_duplicates_reference,
    "b4b": b4b,
    "b4b_reference": b4b_reference,
    "b4b_reference_simsiam": b4b_reference_simsiam,
    "coverage_ratio": coverage_ratio,
    "saliency": saliency,
    "saliency_reference": saliency_reference,
    "proof_of_work": proof_of_work,
}


def make_defence(
    names: Sequence[str], numbers: Mapping[str, Mapping[str, Any]]
) -> Defence:
    """The defence of a name, or a chain of several, the first next to the victim.

    Args:
        names: Entries of the table, or MODULE:NAME: functions of their numbers; one or
            more, each once.
        numbers: Of those that have some, by name, exactly those that each takes.

    Raises:
        UserError: A name is unknown, numbers are wrong, or parts do not fit.
    """
    refuse_if(not names, "service.defence names none; 'none' is a defence, too")
    refuse_if(
        len(set(names)) < len(names),
        f"service.defence names one twice: {'+'.join(names)}",
    )
    made = {}
    for name in names:
        entry = pick(DEFENCES, name, "defence", own=True)
        block = numbers.get(name, {})
        where = f"service.defence_kw.{name.rpartition(':')[2]}"
        check_block(block, entry, where)
        check_sizes(where, block, entry)
        made[name] = entry(**block)
        refuse_if(
            not isinstance(made[name], Defence),
            f"service.defence: {name!r} makes no Defence of its numbers",
        )
    return chain(made)._replace(called=_called(names, numbers))


def _called(names: Sequence[str], numbers: Mapping[str, Mapping[str, Any]]) -> str:
    """NAME(NUMBER=VALUE, ...)+...; of one of one's own with the digest of its code."""
    code = code_of(*names).get("code", {})

    def said(name: str) -> str:
        own = sorted(numbers.get(name, {}).items())
        told = [f"{key}={json.dumps(value, default=str)}" for key, value in own]
        return f"{name}({', '.join(told)}){code.get(name, '')}"

    return "+".join(map(said, names))
