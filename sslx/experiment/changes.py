"""Changes of a config in words, as in ``steal.also`` and ``study.grid``."""

import ast
from typing import NamedTuple

from ml_collections import ConfigDict

from sslx.types import UserError


class Entry(NamedTuple):
    """A key of the config whose entries are changes of it.

    Attributes:
        name: For messages.
        inside: The section whose keys need no name of it before them; "" for none.
        sections: The others whose keys may be changed, led by their names.
        fixed: Keys that may not be, whole.
        allowed: All this in words.
    """

    name: str
    inside: str
    sections: tuple[str, ...]
    fixed: tuple[str, ...]
    allowed: str


ALSO = Entry(
    "steal.also",
    "steal",
    ("service",),
    ("also",),
    "with a key of the steal section, or one of the service's led by 'service.'",
)
GRID = Entry(
    "study.grid",
    "",
    ("seed", "precision", "data", "victim", "service", "steal", "probe"),
    ("steal.also",),
    "with a whole key of the config, as in 'steal.loss=mse' or 'seed=1'; what is in "
    "the sections engine and study, stages and steal.also are the same for all",
)


def pairs(change: str, entry: Entry) -> dict[str, str]:
    """The keys of a change and their values as written.

    Raises:
        UserError: Not KEY=VALUE, or a key twice.
    """
    out: dict[str, str] = {}
    for pair in change.split():
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{entry.name}: {pair!r} is not KEY=VALUE {entry.allowed}")
        if key in out:
            raise UserError(f"{entry.name}: {change!r} sets {key} twice")
        out[key] = text
    return out


def changed(config: ConfigDict, change: str, entry: Entry = ALSO) -> ConfigDict:
    """The config with one change applied.

    Args:
        config: What is changed; it stays as it is.
        change: ``key=value`` pairs with blanks between them; dots lead into blocks.
        entry: Where it stands.

    Raises:
        UserError: Not of that form, unknown key, or a value of another type.
    """
    config = config.copy_and_resolve_references().unlock()
    for key, text in pairs(change, entry).items():
        pair = f"{entry.name}: {f'{key}={text}'!r}"
        *path, last = key.split(".")
        if entry.inside and (not path or path[0] not in entry.sections):
            path = [entry.inside, *path]
        section = config
        for name in path:
            section = section.get(name) if isinstance(section, ConfigDict) else None
        there = isinstance(section, ConfigDict) and last in section
        whole = there and isinstance(section[last], ConfigDict)
        may = [*path, last][0] in (entry.inside, *entry.sections)
        if not there or whole or not may or key in entry.fixed:
            raise UserError(f"{pair} is not KEY=VALUE {entry.allowed}")
        section[last] = _value(text, section[last], pair)
    return config


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
