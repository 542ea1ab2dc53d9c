"""Reading a service's file: stored answers and bills, without a victim."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from sslx.service import ledger as ledgers
from sslx.service.counters import Counters, count, count_all
from sslx.service.database import way_out
from sslx.service.ledger import Ledger
from sslx.types import UserError, refuse_if


def read_answers(
    path: str | os.PathLike, account: str, calls: Sequence[str], images: np.ndarray
) -> Float32[np.ndarray, "n d"]:
    """The answers to calls made before, without a victim; nothing is counted.

    Args:
        path: The service's file. It is only read, and not made if it is missing.
        account: Who asked.
        calls: Ids of calls, in the order in which the answers are wanted.
        images: What they asked, call after call, uint8 (n, h, w, c).

    Returns:
        One row per image sent, call after call, as they were given.

    Raises:
        UserError: No such file, no such call, calls that asked other images, or a
            damaged file.
    """
    with ledgers.reading(path) as ledger:
        hashes, ids = _asked(ledger, account, calls)
        refuse_if(
            hashes != [ledgers.image_hash(image) for image in images],
            f"{path} holds answers to other images than these: the data set or its "
            "order has changed, or another machine rounds augmented views "
            f"otherwise; {way_out(Path(path))} to ask again",
        )
        return ledgers.read_stored(ledger, account, ids)


def read_notes(
    path: str | os.PathLike, account: str, calls: Sequence[str]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """What the defence noted about the images of calls made before.

    Args:
        path: The service's file. It is only read, and not made if it is missing.
        account: Who asked.
        calls: Ids of calls, in the order in which the notes are wanted.

    Returns:
        Name of a note -> one number per image sent, call after call; NaN for an image
        without it. An image that was answered from the store has the notes of the
        answer it was given.

    Raises:
        UserError: No such file, no such call, or a damaged file.
    """
    with ledgers.reading(path) as ledger:
        _, ids = _asked(ledger, account, calls)
        notes = ledgers.read_noted(ledger, account, ids)
    names = sorted(set().union(*notes))
    return {
        name: np.array([note.get(name, np.nan) for note in notes]) for name in names
    }


def _asked(
    ledger: Ledger, account: str, calls: Sequence[str]
) -> tuple[list[bytes], list[bytes]]:
    """Hashes of the images of calls, and the ids of their answers."""
    hashes: list[bytes] = []
    ids: list[bytes] = []
    for call in calls:
        asked = ledgers.find_call(ledger, account, call)
        if asked is None:
            raise UserError(
                f"{ledger.path} holds no call {call!r} of account {account!r}"
            )
        hashes += asked
        ids += ledgers.answer_ids(ledger, call, asked)
    return hashes, ids


def read_counters(path: str | os.PathLike, account: str) -> Counters:
    """The account's bill, read without a victim; all zero if it never asked.

    Raises:
        UserError: No such file, or a damaged one.
    """
    with ledgers.reading(path) as ledger:
        return count(ledger, account)


def read_all_counters(path: str | os.PathLike) -> dict[str, Counters]:
    """The bills of all accounts that asked, by name, read without a victim.

    Raises:
        UserError: No such file, or a damaged one.
    """
    with ledgers.reading(path) as ledger:
        return count_all(ledger)
