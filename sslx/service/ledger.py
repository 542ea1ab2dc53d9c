"""What was asked and what was answered, in one sqlite file.

A call is the list of its images' hashes. An answer belongs to an account and has an id,
which ``REPEATS`` makes from a call: what must be there is derived from the calls.
"""

import json
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from sslx.service.database import check_row, damaged, digest
from sslx.service.terms import REPEATS, Spent, Terms

HASH = 32  # bytes of a sha256
OF_ALL = b""  # no account's name: what all have spent together


class Ledger(NamedTuple):
    """An open ledger: the connection, the file it is of, and what that was made for."""

    db: sqlite3.Connection
    path: Path
    terms: Terms


def image_hash(image: np.ndarray) -> bytes:
    """sha256 of an image's pixels, and of its shape: other layouts are other images."""
    return digest(repr(image.shape).encode(), image.tobytes())


def find_call(ledger: Ledger, account: str, call: str) -> list[bytes] | None:
    """The hashes of the images a call asked, in order; None for a call not made."""
    query = "SELECT images, digest FROM calls WHERE account = ? AND call = ?"
    images = _find(ledger, f"call {call!r}", query, account.encode(), call.encode())
    return None if images is None else split(images)


def answer_ids(ledger: Ledger, call: str, images: list[bytes]) -> list[bytes]:
    """Under which ids the answers to a call's images are stored, in their order."""
    return REPEATS[ledger.terms.repeats](call.encode(), images)


def find_answer(ledger: Ledger, account: str, id: bytes) -> tuple[bytes, bytes] | None:
    """The answer under an id, float32 little-endian, and its notes, JSON or nothing.

    None if there is no such answer.
    """
    query = "SELECT answer, notes, digest FROM answers WHERE account = ? AND id = ?"
    row = ledger.db.execute(query, (account.encode(), id)).fetchone()
    if row is None:
        return None
    answer, notes, written = row
    whole = (account.encode(), id, *_with(answer, notes))
    check_row(ledger.path, f"answer {id.hex()[:12]}", *whole, written)
    return answer, notes


def read_stored(
    ledger: Ledger, account: str, ids: list[bytes]
) -> Float32[np.ndarray, "b d"]:
    """The stored answers, in the order of their ids.

    Raises:
        UserError: One is damaged or missing.
    """
    out = np.empty((len(ids), ledger.terms.dim), np.float32)
    for i, id in enumerate(ids):
        out[i] = np.frombuffer(_stored(ledger, account, id)[0], "<f4")
    return out


def read_noted(
    ledger: Ledger, account: str, ids: list[bytes]
) -> list[dict[str, float]]:
    """The notes of stored answers, in the order of their ids.

    Raises:
        UserError: One is damaged or missing.
    """
    return [json.loads(_stored(ledger, account, id)[1] or b"{}") for id in ids]


def find_rows(
    ledger: Ledger, account: str, buckets: Iterable[int | np.integer]
) -> list[Int64[np.ndarray, " k"]]:
    """The account's rows in these buckets, bucket by bucket, in the order appended."""
    out = []
    for bucket in buckets:
        ids = account.encode(), np.array(bucket, "<i8").tobytes()
        for row in ledger.db.execute(
            "SELECT content, digest FROM rows WHERE account = ? AND bucket = ?"
            " ORDER BY rowid",
            ids,
        ):
            check_row(ledger.path, "a row of a defence", *ids, *row)
            out.append(np.frombuffer(row[0], "<i8").astype(np.int64))
    return out


def find_state(ledger: Ledger, account: str) -> bytes | None:
    """The account's defence state as it was saved; None if none was."""
    query = "SELECT state, digest FROM states WHERE account = ?"
    return _find(ledger, "the state of a defence", query, account.encode())


def find_key(ledger: Ledger, account: str) -> bytes | None:
    """What is kept of the account's key; None for an unknown account."""
    query = "SELECT key, digest FROM keys WHERE account = ?"
    return _find(ledger, "the key of an account", query, account.encode())


def find_spent(ledger: Ledger, account: bytes) -> Spent:
    """What an account's name, or ``OF_ALL``, has spent; the calls are not looked at."""
    query = "SELECT spent, digest FROM totals WHERE account = ?"
    found = _find(ledger, "a total", query, account)
    return Spent(*struct.unpack("<QQ", found)) if found else Spent(0, 0)


def set_spent(ledger: Ledger, account: bytes, spent: Spent) -> None:
    """Replaces what an account's name, or ``OF_ALL``, has spent."""
    row = account, struct.pack("<QQ", *spent)
    ledger.db.execute(
        "INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", (*row, digest(*row))
    )


def add_answer(
    ledger: Ledger, account: str, id: bytes, answer: bytes, notes: bytes
) -> None:
    """Stores an answer, and its notes, under an id that is new to the account."""
    row = (account.encode(), id, answer)
    written = digest(account.encode(), id, *_with(answer, notes))
    ledger.db.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (*row, written, notes)
    )


def add_rows(ledger: Ledger, account: str, rows: Int64[np.ndarray, "r k"]) -> None:
    """Appends to the account's rows; the first number of each is its bucket."""
    for row in rows:
        content = row.astype("<i8").tobytes()
        line = (account.encode(), content[:8], content)
        ledger.db.execute(
            "INSERT INTO rows VALUES (?, ?, ?, ?)", (*line, digest(*line))
        )


def add_call(ledger: Ledger, account: str, call: str, images: list[bytes]) -> None:
    """Stores which images a new call asked, and that they are spent."""
    row = (account.encode(), call.encode(), b"".join(images))
    ledger.db.execute("INSERT INTO calls VALUES (?, ?, ?, ?)", (*row, digest(*row)))
    for name in (row[0], OF_ALL):
        before = find_spent(ledger, name)
        after = Spent(before.images + len(images), before.calls + 1)
        set_spent(ledger, name, after)


def add_key(ledger: Ledger, account: str, key: bytes) -> None:
    """Stores a new account, and what is kept of its key."""
    row = (account.encode(), key)
    ledger.db.execute("INSERT INTO keys VALUES (?, ?, ?)", (*row, digest(*row)))


def save_state(ledger: Ledger, account: str, state: bytes) -> None:
    """Replaces the account's defence state."""
    row = (account.encode(), state)
    ledger.db.execute(
        "INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (*row, digest(*row))
    )


def split(images: bytes) -> list[bytes]:
    """The hashes of a call's images, as a call's row has them one after the other."""
    return [images[i : i + HASH] for i in range(0, len(images), HASH)]


def _with(answer: bytes, notes: bytes) -> tuple[bytes, ...]:
    # Without notes the digest is what it was before there were any.
    return (answer, notes) if notes else (answer,)


def _stored(ledger: Ledger, account: str, id: bytes) -> tuple[bytes, bytes]:
    found = find_answer(ledger, account, id)
    if found is None:
        raise damaged(ledger.path, "an answer is missing")
    return found


def _find(ledger: Ledger, what: str, query: str, *ids: bytes) -> bytes | None:
    """The first column of the one row with these ids, once its digest is checked."""
    row = ledger.db.execute(query, ids).fetchone()
    if row is None:
        return None
    check_row(ledger.path, what, *ids, *row)
    return row[0]
