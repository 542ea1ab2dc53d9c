"""The bills: sums over the stored calls, so that none can disagree with the store.

A budget is held against running totals, which are written with each call and compared
with the calls when a file is opened.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx.service.database import check_name, check_row
from sslx.service.ledger import OF_ALL, Ledger, find_spent, split
from sslx.service.opening import reading
from sslx.service.terms import Spent, cost

LEDGER = "ledger.sqlite"  # in the run of the answers


class Counters(NamedTuple):
    """An account's bill.

    Attributes:
        unique_images: Different images sent, by the hash of their pixels.
        images: Images sent, repeated ones too: the number of queries.
        calls: Calls, each id once.
        values: Numbers given back, images x dim.
        limit: Images the account may send, None for no limit.
        cost: USD, images x price.
    """

    unique_images: int
    images: int
    calls: int
    values: int
    limit: int | None
    cost: float = 0.0


def count(ledger: Ledger, account: str) -> Counters:
    """The account's bill, all zero for one that never asked."""
    rows = ledger.db.execute(
        "SELECT account, call, images, digest FROM calls WHERE account = ?",
        (account.encode(),),
    )
    return _bill(ledger, [_images(ledger, row) for row in rows])


def count_all(ledger: Ledger) -> dict[str, Counters]:
    """The bill of every account that asked, by name."""
    calls: dict[str, list[list[bytes]]] = {}
    for row in ledger.db.execute("SELECT account, call, images, digest FROM calls"):
        images = _images(ledger, row)
        calls.setdefault(row[0].decode(), []).append(images)
    return {account: _bill(ledger, calls[account]) for account in sorted(calls)}


def spent(ledger: Ledger, account: str) -> tuple[Spent, Spent]:
    """What the account has spent, and all accounts together, as fast after any past."""
    return find_spent(ledger, account.encode()), find_spent(ledger, OF_ALL)


def read_counters(path: str | os.PathLike, account: str) -> Counters:
    """The account's bill, read without a victim; all zero if it never asked.

    Raises:
        UserError: No such file, or a damaged one.
    """
    check_name("an account's name", account)
    with reading(path) as ledger:
        return count(ledger, account)


def read_all_counters(path: str | os.PathLike) -> dict[str, Counters]:
    """The bills of all accounts that asked, by name, read without a victim.

    Raises:
        UserError: No such file, or a damaged one.
    """
    with reading(path) as ledger:
        return count_all(ledger)


def bills(ledger: Path, accounts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Account -> its counters, by name; see ``Counters``.

    Raises:
        UserError: No such file, or a damaged one.
    """
    return {name: read_counters(ledger, name)._asdict() for name in accounts}


def total(
    counted: dict[str, dict[str, Any]], total_image_limit: int | None
) -> dict[str, Any]:
    """All of ``bills`` as one; an image that two accounts sent is unique twice.

    Args:
        counted: At least one account's.
        total_image_limit: Of all together, None for none: ``limit`` is the lower one.
    """
    keys = next(iter(counted.values()))
    out = {key: sum(bill[key] for bill in counted.values()) for key in keys}
    if total_image_limit is not None:
        out["limit"] = min(out["limit"], total_image_limit)
    return out


def _images(ledger: Ledger, row: tuple) -> list[bytes]:
    check_row(ledger.path, "a call", *row)
    return split(row[2])


def _bill(ledger: Ledger, calls: list[list[bytes]]) -> Counters:
    images, terms = sum(map(len, calls)), ledger.terms
    return Counters(
        unique_images=len(set().union(*calls)),
        images=images,
        calls=len(calls),
        values=images * terms.dim,
        limit=terms.image_limit,
        cost=cost(terms, images),
    )
