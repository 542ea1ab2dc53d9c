"""The terms of a service: what an account may ask, what it pays, what it gets."""

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from sslx.registry import pick
from sslx.service.database import digest, way_out
from sslx.types import UserError, refuse_if

# Of images and calls, of an account and of all; entries of ``Terms``.
LIMITS = ("image_limit", "call_limit", "total_image_limit", "total_call_limit")


class Terms(NamedTuple):
    """What a file of answers was made for; it is opened for nothing else.

    Attributes:
        dim: Numbers per answer, as the defence leaves it.
        image_shape: (h, w, c) of the images it takes.
        image_limit: Images each account may send, None for no limit.
        call_limit: Calls each account may make, None for no limit.
        total_image_limit: Images all accounts together may send, None for no limit.
        total_call_limit: Calls all accounts together may make, None for no limit.
        price: USD per image sent.
        repeats: What an image sent again is answered; a name in ``REPEATS``.
        api_keys: Whether only known accounts may ask, each with its key.
        secret: Digest of what the defence draws from; None where it needs none.
        calibration: Digest of what it was calibrated on; None likewise.
        defence: Names and numbers of the defence, "" for one that has none; None in
            a file of before they were kept.
    """

    dim: int
    image_shape: tuple[int, ...]
    image_limit: int | None = None
    call_limit: int | None = None
    total_image_limit: int | None = None
    total_call_limit: int | None = None
    price: float = 0.0
    repeats: str = "memoised"
    api_keys: bool = False
    secret: str | None = None
    calibration: str | None = None
    defence: str | None = None


class Spent(NamedTuple):
    """Images sent, repeated ones too, and calls made."""

    images: int
    calls: int


class BudgetExceeded(UserError):
    """A call would pass a limit; it was refused whole.

    Attributes:
        account: Who asked.
        limit: The limit, in images or calls.
        left: What is left of it.
        asked: What the call asks of it: its images, or 1 where calls are limited.
        name: Which limit: ``image_limit``, ``call_limit``, ``total_image_limit`` or
            ``total_call_limit``.
    """

    def __init__(self, account: str, limit: int, left: int, asked: int, name: str):
        super().__init__(account, limit, left, asked, name)  # as they are, for pickling
        self.account, self.limit, self.left, self.asked = account, limit, left, asked
        self.name = name

    def __str__(self) -> str:
        total = self.name.startswith("total_")
        who = "all accounts have" if total else f"account {self.account!r} has"
        if self.name.endswith("image_limit"):
            unit, more = "images", f"the call asks {self.asked}"
        else:
            unit, more = "calls", "this would be one more"
        return (
            f"{who} {self.left} of {self.limit} {unit} left ({self.name}), {more}: "
            "refused whole, nothing was counted"
        )


def _anew(call: bytes, images: list[bytes]) -> list[bytes]:
    return [digest(call, i.to_bytes(8, "little"), h) for i, h in enumerate(images)]


# What an image sent again is answered. An entry is ``(call, hashes of its images) ->
# ids of their answers in the account's store``: an id that is not there yet is answered
# by the victim, any other from the store.
REPEATS: dict[str, Callable[[bytes, list[bytes]], list[bytes]]] = {
    "memoised": lambda call, images: images,  # one answer for each image, once for all
    "fresh": _anew,  # an answer of its own for each image of each call
}


def check_terms(terms: Terms) -> None:
    """Checks that the terms can be kept.

    Raises:
        UserError: A limit or the price is negative, or ``repeats`` is unknown.
    """
    for name, value in terms._asdict().items():
        refuse_if(
            name.endswith("_limit") and value is not None and value < 0,
            f"{name} is {value}: write 0 or more, or None for no limit",
        )
    refuse_if(
        not (math.isfinite(terms.price) and terms.price >= 0),
        f"price is {terms.price}: write USD per image, 0 or more",
    )
    pick(REPEATS, terms.repeats, "policy for repeated images")


def check_same(path: Path, was: Terms, now: Terms) -> None:
    """Checks that a file is opened on the terms it was made for.

    One of before the defence was a term may be opened with any, and any calibration.

    Raises:
        UserError: It is not; the first that differs.
    """
    older = was.defence is None
    for name, old, new in zip(Terms._fields, was, now, strict=True):
        if old == new or (older and name == "defence"):
            continue
        if older and name == "calibration" and old and new:
            continue  # the digest was of the answers alone
        refuse_if(
            name == "api_keys",
            f"{path} was made {'with' if old else 'without'} accounts and keys; "
            f"give {'them' if old else 'None'} in accounts",
        )
        if name in ("secret", "calibration"):  # digests say nothing to a reader
            made = "another" if old and new else "a" if old else "no"
            what = f"with {made} {name}"
        else:
            what = f"for {name} {_told(old)}, not {_told(new)}"
        raise UserError(
            f"{path} was made {what}; name another file, or {way_out(path)}"
        )


def _told(value: object) -> object:
    return "one without a name" if value == "" else value


def check_budget(
    terms: Terms, account: str, asked: int, own: Spent, total: Spent
) -> None:
    """Checks that a new call of so many images is within every limit.

    Args:
        terms: The service's terms.
        account: Who asks.
        asked: Images of the call.
        own: What the account has spent.
        total: What all accounts have spent, this one too.

    Raises:
        BudgetExceeded: It is not; the first limit that it passes.
    """
    for name, used, more in (
        ("image_limit", own.images, asked),
        ("call_limit", own.calls, 1),
        ("total_image_limit", total.images, asked),
        ("total_call_limit", total.calls, 1),
    ):
        limit = getattr(terms, name)
        if limit is not None and used + more > limit:
            raise BudgetExceeded(account, limit, limit - used, more, name)


def cost(terms: Terms, images: int) -> float:
    """USD for so many images: the exact product of the price as it is written."""
    return float(images * Decimal(str(terms.price)))
