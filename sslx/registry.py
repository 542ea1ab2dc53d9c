"""One way to look a name up in a table, and what stands beside an entry of one."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

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


class Traits(NamedTuple):
    """What is to be known of an entry of a table beside how it is called.

    A number is above 0 where nothing else is said of it.

    Attributes:
        may_be_0: Numbers that may be 0.
        at_most_1: Numbers that are 1 at most.
        labels: Whether it trains on the images' classes. A loss gets those of the batch
            as ``labels``, int (b,); the number of that name says which they are: 0, the
            true ones; or so many clusters of the answers.
        paired: Of a loss: its rows come in pairs, the two views of an image.
        non_negative: Of a loss: neither side may be negative.
        quantiles: Of a loss: numbers that are given as a share of the answers, from 0
            to below 1; the loss gets what so many of them lie below, one a feature.
    """

    may_be_0: tuple[str, ...] = ()
    at_most_1: tuple[str, ...] = ()
    labels: bool = False
    paired: bool = False
    non_negative: bool = False
    quantiles: tuple[str, ...] = ()


def traits(**given: Any) -> Callable[[T], T]:
    """The decorator of a function of a table whose ``Traits`` are not the usual ones.

    Raises:
        ValueError: The function has no keyword of a number's name.
    """
    found = Traits(**given)

    def beside(entry):
        named = {*found.may_be_0, *found.at_most_1, *found.quantiles}
        if unknown := named - keywords(entry):
            raise ValueError(f"{entry.__name__} takes no {', '.join(sorted(unknown))}")
        entry.traits = found
        return entry

    return beside


def traits_of(entry: Any) -> Traits:
    """What stands beside an entry, the usual where nothing does."""
    return getattr(entry, "traits", Traits())


def keywords(entry: Callable) -> set[str]:
    """The names of a function's keyword-only parameters: its numbers."""
    parameters = inspect.signature(entry).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
