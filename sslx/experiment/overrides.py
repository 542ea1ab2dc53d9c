"""Changes of a config in words, as in ``study.grid``: "steal.loss=mse seed=1"."""

import ast
from itertools import product
from typing import Any

from ml_collections import ConfigDict

from sslx.types import UserError, refuse_if

# Sections and keys that a change may touch; the others are the same for all.
SECTIONS = ("seed", "precision", "data", "victim", "service", "steal", "probe")
FIXED = ("victim.watch_every", "probe.primary")  # the same for all, too
ALLOWED = (
    "with a whole key of the config, as in 'steal.loss=mse' or 'seed=1'; what is in "
    "the sections engine and study, and stages, are the same for all"
)


def combinations(grid: tuple[Any, ...]) -> list[str]:
    """One change for each combination; those of the last axis run fastest.

    Without axes, one combination that changes nothing.

    Raises:
        UserError: Not of that form, or two axes set the same key.
    """
    for axis in grid:
        refuse_if(
            not isinstance(axis, tuple) or not all(isinstance(c, str) for c in axis),
            "study.grid must hold a tuple of changes for each axis, as in "
            "(('steal.loss=mse', 'steal.loss=infonce'), ('seed=0', 'seed=1')), not "
            f"{axis!r}",
        )
        refuse_if(
            not axis,
            "study.grid has an axis without a change; leave it out",
        )
    found = [" ".join(filter(None, parts)) for parts in product(*grid)]
    for change in found:
        _pairs(change)  # a key twice
    return list(dict.fromkeys(found))


def _pairs(change: str) -> dict[str, str]:
    """The keys of a change and their values as written.

    Raises:
        UserError: Not KEY=VALUE, or a key twice.
    """
    out: dict[str, str] = {}
    for pair in change.split():
        key, equals, text = pair.partition("=")
        refuse_if(
            not equals or not key,
            f"study.grid: {pair!r} is not KEY=VALUE {ALLOWED}",
        )
        refuse_if(
            key in out,
            f"study.grid: {change!r} sets {key} twice",
        )
        out[key] = text
    return out


def changed(config: ConfigDict, change: str) -> tuple[ConfigDict, dict[str, Any]]:
    """The config with one change applied, and what was changed: key -> value.

    Args:
        config: What is changed; it stays as it is.
        change: ``key=value`` pairs with blanks between them; dots lead into blocks.

    Raises:
        UserError: Not of that form, unknown key, or a value of another type.
    """
    config = config.copy_and_resolve_references().unlock()
    values: dict[str, Any] = {}
    for key, text in _pairs(change).items():
        pair = f"study.grid: {f'{key}={text}'!r}"
        *path, last = key.split(".")
        section = config
        for name in path:
            section = section.get(name) if isinstance(section, ConfigDict) else None
        there = isinstance(section, ConfigDict) and last in section
        whole = there and isinstance(section[last], ConfigDict)
        refuse_if(
            not there or whole or [*path, last][0] not in SECTIONS or key in FIXED,
            f"{pair} is not KEY=VALUE {ALLOWED}",
        )
        values[key] = section[last] = _value(text, section[last], pair)
    return config, values


def _value(text: str, old: object, pair: str) -> object:
    """A value of the type of the one that it replaces; None is that of a whole number.

    (Limits and seeds may be None, and are whole numbers otherwise.)
    """
    kind = int if old is None else type(old)
    if kind is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind and not (value is None and old is None):
        raise UserError(f"{pair} is not of type {kind.__name__}")
    return value
