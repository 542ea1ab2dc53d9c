"""One way to look a name up, and what stands beside an entry of a table.

An entry of one's own, which stands in no table, is called ``MODULE:NAME``.
"""

import hashlib
import importlib
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sslx.types import UserError, refuse_if

T = TypeVar("T")


class NoModule(UserError):
    """There is no module of that name."""


def pick(table: Mapping[str, T], name: str, what: str, *, own: bool = False) -> T:
    """Returns ``table[name]``.

    Args:
        table: One of the literal tables (LOSSES, OBJECTIVES, ...).
        name: The entry wanted.
        what: What the table holds, for the message.
        own: Whether ``MODULE:NAME`` is taken, too, an entry of one's own. Who does so
            puts ``code_of`` the name into the recipe of what it decides.

    Raises:
        UserError: There is no such entry; the message lists those there are.
    """
    if own and ":" in name:
        example = next(iter(table.values()))
        kind = None if callable(example) else type(example)
        return imported(name, f"{what} {name!r}", kind)
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
        one_answer: Of a cleaner: makes one answer of an image's several.
        drops: Of a cleaner: the number that is the share of the images it leaves out.
        features: Of a cleaner: wants an encoder of the attacker's own.
        predicted: Of a cleaner: wants a first stealer.
        anchors: Of a cleaner: wants what several accounts were answered alike.
        copy: Of a cleaner: wants a copy of the defence, and gives clean answers' width.
        version: Grows where the entry finds something else than before.
    """

    may_be_0: tuple[str, ...] = ()
    at_most_1: tuple[str, ...] = ()
    labels: bool = False
    paired: bool = False
    non_negative: bool = False
    quantiles: tuple[str, ...] = ()
    one_answer: bool = False
    drops: str = ""
    features: bool = False
    predicted: bool = False
    anchors: bool = False
    copy: bool = False
    version: int = 1


def traits(**given: Any) -> Callable[[T], T]:
    """The decorator of a function of a table whose ``Traits`` are not the usual ones.

    Raises:
        ValueError: The function has no keyword of a number's name.
    """
    found = Traits(**given)

    def beside(entry):
        named = {*found.may_be_0, *found.at_most_1, *found.quantiles}
        named |= {found.drops} - {""}
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


def defaults(entry: Callable) -> dict[str, Any]:
    """The keyword-only numbers of a function that have a default, but for flags."""
    parameters = inspect.signature(entry).parameters.values()
    numbers = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {
        name: value
        for name, value in numbers.items()
        if value is not inspect.Parameter.empty and not isinstance(value, bool)
    }


def check_block(block: Mapping[str, Any], entry: Callable, what: str) -> None:
    """Raises a UserError unless a block holds exactly the numbers an entry takes."""
    takes = keywords(entry)
    if set(block) != takes:
        wanted, found = (", ".join(sorted(k)) or "nothing" for k in (takes, block))
        raise UserError(f"{what} must hold {wanted}, not {found}")


def check_sizes(section: str, block: Mapping[str, Any], entry: Callable) -> None:
    """Raises a UserError unless an entry's numbers lie in the ranges of its traits.

    Args:
        section: Where they stand, for messages.
        block: Of the entry; texts and bools are its own to check.
        entry: Of a table.
    """
    may_be_0, at_most_1, *_ = traits_of(entry)
    sizes = {k: v for k, v in block.items() if not isinstance(v, bool | str)}
    positive(section, {k: v for k, v in sizes.items() if v != 0 or k not in may_be_0})
    for key in at_most_1:
        refuse_if(
            sizes.get(key, 0) > 1,
            f"{section}.{key} must be 1 at most, not {sizes.get(key)}",
        )


def positive(section: str, values: Mapping[str, Any]) -> None:
    """Raises a UserError unless all values are numbers above 0 and finite."""
    for key, value in values.items():
        refuse_if(
            not (isinstance(value, Real) and 0 < float(value) < math.inf),
            f"{section}.{key} must be above 0, not {value}",
        )


def imported(
    spec: str, where: str, kind: type | None = None, form: str = "MODULE:NAME"
) -> Any:
    """What ``MODULE:NAME`` names, from the working directory first.

    Args:
        spec: MODULE:NAME.
        where: Where it was written, for messages.
        kind: What it must be; None: a function.
        form: How it is to be written, for messages.

    Raises:
        NoModule: MODULE is neither there nor installed (a UserError).
        UserError: It cannot be imported, or has nothing of that name and kind.
    """
    module, _, name = spec.partition(":")
    refuse_if(
        not module or not name.isidentifier(),
        f"{where} is not of the form {form}",
    )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise NoModule(
                f"{where}: there is no module {module!r}, neither installed nor in the "
                "working directory"
            ) from None
        raise failure(f"importing {module}", error) from None
    if not (isinstance(found, kind) if kind else callable(found)):
        wanted = kind.__name__ if kind else "function"
        raise UserError(f"{where}: {module!r} has no {wanted} {name!r}")
    return found


def failure(what: str, error: BaseException) -> UserError:
    """An error in code of one's own as one line, with the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())
    where = f"{os.path.basename(place.filename)}, line {place.lineno}"
    return UserError(f"{what} failed: {words[:200]} ({where})")


def code_of(*names: str) -> dict[str, dict[str, str]]:
    """What a recipe must hold of entries of one's own: nothing where there are none.

    Returns:
        ``{"code": {MODULE:NAME: sha256}}``, of the file that MODULE is, not of what it
        imports.
    """
    own = {name: sys.modules[name.partition(":")[0]] for name in names if ":" in name}
    places = {name: getattr(module, "__file__", None) for name, module in own.items()}
    files = {name: Path(place) for name, place in places.items() if place}
    code = {k: hashlib.sha256(v.read_bytes()).hexdigest() for k, v in files.items()}
    return {"code": code} if code else {}
