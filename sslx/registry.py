"""One way to look a name up in a table."""

from collections.abc import Mapping
from typing import TypeVar

from sslx.types import UserError

T = TypeVar("T")


def pick(table: Mapping[str, T], name: str, what: str) -> T:
    """Returns ``table[name]``.

    Args:
        table: One of the literal tables (LOSSES, OBJECTIVES, ...).
        name: The entry wanted.
        what: What the table holds, for the message.

    Raises:
        UserError: There is no such entry; the message lists those there are.
    """
    if name not in table:
        raise UserError(f"unknown {what} {name!r}; known: {', '.join(sorted(table))}")
    return table[name]
