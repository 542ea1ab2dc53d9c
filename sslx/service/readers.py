"""Reading a service's file: stored answers and their notes, without a victim."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from sslx.service import ledger as ledgers
from sslx.service.database import check_name, damaged, way_out
from sslx.service.ledger import Ledger
from sslx.service.opening import reading
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
    with reading(path) as ledger:
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
    with reading(path) as ledger:
        _, ids = _asked(ledger, account, calls)
        notes = ledgers.read_noted(ledger, account, ids)
    names = sorted(set().union(*notes))
    return {
        name: np.array([note.get(name, np.nan) for note in notes]) for name in names
    }


def mean_notes(path: str | os.PathLike, accounts: Sequence[str]) -> dict[str, float]:
    """What the defence noted about all answers of some accounts, the mean of each note.

    Over images that have the note; an image that was answered again counts once.

    Raises:
        UserError: No such file, or a damaged one.
    """
    values: dict[str, list[float]] = {}
    query = "SELECT id FROM answers WHERE account = ?"
    with reading(path) as ledger:
        for account in accounts:
            ids = [row for (row,) in ledger.db.execute(query, (account.encode(),))]
            for note in ledgers.read_noted(ledger, account, ids):
                for name, value in note.items():
                    values.setdefault(name, []).append(value)
    return {name: float(np.mean(own)) for name, own in sorted(values.items())}


def read_asked(
    path: str | os.PathLike,
) -> dict[str, tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]]:
    """What every account was answered, in the order asked, repeated images too.

    Answers are numbered as they are stored, and so are the calls that brought them. A
    call that brought none, of images that were all stored before, has no place of its
    own: it stands behind the last of the calls that brought its images.

    Args:
        path: The service's file. It is only read.

    Returns:
        Account -> the number of the call that each image was sent in, among the calls
        of all accounts, and the answers: an image a row.

    Raises:
        UserError: No such file, or a damaged one.
    """
    with reading(path) as ledger:
        out: dict[str, list] = {}
        for number, (account, call) in enumerate(_in_order(ledger)):
            images = ledgers.find_call(ledger, account, call) or []
            ids = ledgers.answer_ids(ledger, call, images)
            numbers = np.full(len(ids), number, np.int64)
            answers = ledgers.read_stored(ledger, account, ids)
            out.setdefault(account, []).append((numbers, answers))
    return {
        account: (
            np.concatenate([numbers for numbers, _ in calls]),
            np.concatenate([answers for _, answers in calls]),
        )
        for account, calls in out.items()
    }


class _Asked(NamedTuple):
    """A call, and where in the store the answers to its images lie, each once."""

    account: str
    call: str
    places: list[int]


def _in_order(ledger: Ledger) -> list[tuple[str, str]]:
    """(account, call) of all calls, in an order in which they bring what is stored.

    A call brought answers that lie one behind the other; of several that may have
    brought the same, it is the one that brings most.
    """
    query = "SELECT account, id FROM main.answers ORDER BY rowid"
    stored = {own: place for place, own in enumerate(ledger.db.execute(query))}
    calls: list[_Asked] = []
    of: dict[int, list[_Asked]] = {}  # place -> who asked it
    for account, call, images in ledger.db.execute(
        "SELECT account, call, images FROM calls"
    ):
        ids = ledgers.answer_ids(ledger, call.decode(), ledgers.split(images))
        own = dict.fromkeys(stored[account, id] for id in ids)
        calls.append(_Asked(account.decode(), call.decode(), [*own]))
        for place in own:
            of.setdefault(place, []).append(calls[-1])
    brought_by: dict[int, _Asked] = {}  # the first place that each brought
    ends: list[int] = []  # of each place, the last one of the call that brought it
    while (start := len(ends)) < len(stored):
        able = [asked for asked in of[start] if _brings(asked.places, start)]
        if not able:
            raise damaged(ledger.path, "its answers are in another order than asked")
        best = max(able, key=lambda asked: (max(asked.places), len(asked.places)))
        brought_by[max(best.places)] = best
        ends += [max(best.places)] * (max(best.places) + 1 - start)

    def place_of(asked: _Asked) -> tuple:
        end = max(ends[place] for place in asked.places)
        return end, brought_by[end] is not asked, -len(asked.places), asked.call

    return [(asked.account, asked.call) for asked in sorted(calls, key=place_of)]


def _brings(places: list[int], start: int) -> bool:
    """Whether what a call asks lies from ``start`` on in turn, or before it."""
    new = [place for place in places if place >= start]
    return new == list(range(start, start + len(new)))


def _asked(
    ledger: Ledger, account: str, calls: Sequence[str]
) -> tuple[list[bytes], list[bytes]]:
    """Hashes of the images of calls, and the ids of their answers."""
    hashes: list[bytes] = []
    ids: list[bytes] = []
    check_name("an account's name", account)
    for call in calls:
        check_name("a call's id", call)
        asked = ledgers.find_call(ledger, account, call)
        if asked is None:
            raise UserError(
                f"{ledger.path} holds no call {call!r} of account {account!r}"
            )
        hashes += asked
        ids += ledgers.answer_ids(ledger, call, asked)
    return hashes, ids
