"""What was asked and what was answered, in one sqlite file.

A call is the list of its images' hashes. An answer belongs to an account and has an id,
which ``REPEATS`` makes from a call: what must be there is derived from the calls.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from sslx.service.database import (
    check_row,
    connect,
    damaged,
    digest,
    transaction,
    way_out,
)
from sslx.service.terms import REPEATS, Terms, check_same
from sslx.types import refuse_if

HASH = 32  # bytes of a sha256

# `calls` and `keys` have no rowid, so that each is one tree and not a table beside an
# index: what `_whole` has read is then what is counted and looked up.
_SCHEMA = """
CREATE TABLE header (content BLOB, digest BLOB);
CREATE TABLE calls (account BLOB, call BLOB, images BLOB, digest BLOB,
                    PRIMARY KEY (account, call)) WITHOUT ROWID;
CREATE TABLE answers (account BLOB, id BLOB, answer BLOB, digest BLOB,
                      PRIMARY KEY (account, id));
CREATE TABLE states (account BLOB PRIMARY KEY, state BLOB, digest BLOB);
CREATE TABLE keys (account BLOB PRIMARY KEY, key BLOB, digest BLOB) WITHOUT ROWID;
"""
# What files of version 0.1.0 lack; they get it when they are opened to write.
_LATER = """
ALTER TABLE answers ADD COLUMN notes BLOB DEFAULT x'';
CREATE TABLE rows (account BLOB, bucket BLOB, content BLOB, digest BLOB);
CREATE INDEX buckets ON rows (account, bucket);
"""
_LATER_TERMS = {"secret", "calibration"}
# In place of the first, for who only reads.
_VIEW = "CREATE TEMP VIEW answers AS SELECT *, x'' AS notes FROM main.answers"


class Ledger(NamedTuple):
    """An open ledger: the connection, the file it is of, and what that was made for."""

    db: sqlite3.Connection
    path: Path
    terms: Terms


def open_ledger(path: str | os.PathLike, terms: Terms) -> Ledger:
    """Opens a ledger to write, making it if it is missing.

    Raises:
        UserError: The file is damaged, or was made for other terms.
    """
    path = Path(path)
    db = connect(path, "rwc")
    try:
        with transaction(db, path, "IMMEDIATE"):
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                _execute(db, _SCHEMA)
                content = json.dumps(terms._asdict()).encode()
                db.execute(
                    "INSERT INTO header VALUES (?, ?)", (content, digest(content))
                )
            if not _has_notes(db):
                _execute(db, _LATER)
            ledger = _whole(db, path)
        check_same(path, ledger.terms, terms)
    except BaseException:
        db.close()
        raise
    return ledger


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[Ledger]:
    """A ledger that is only read, at one moment of its life; never makes a file.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    path = Path(path)
    refuse_if(
        not path.is_file(),
        f"no answers at {path}: nothing was asked there yet",
    )
    db = connect(path, "ro")
    with closing(db), transaction(db, path, "DEFERRED"):
        if not _has_notes(db):
            db.execute(_VIEW)
        yield _whole(db, path)


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
    """Stores which images a new call asked."""
    row = (account.encode(), call.encode(), b"".join(images))
    ledger.db.execute("INSERT INTO calls VALUES (?, ?, ?, ?)", (*row, digest(*row)))


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


def _execute(db: sqlite3.Connection, statements: str) -> None:
    # One by one: `executescript` would commit the transaction.
    for statement in statements.split(";"):
        db.execute(statement)


def _has_notes(db: sqlite3.Connection) -> bool:
    columns = db.execute("SELECT name FROM pragma_table_info('answers')")
    return ("notes",) in columns.fetchall()


def _find(ledger: Ledger, what: str, query: str, *ids: bytes) -> bytes | None:
    """The first column of the one row with these ids, once its digest is checked."""
    row = ledger.db.execute(query, ids).fetchone()
    if row is None:
        return None
    check_row(ledger.path, what, *ids, *row)
    return row[0]


def _whole(db: sqlite3.Connection, path: Path) -> Ledger:
    """The ledger of a connection, once it is seen that it is whole.

    Once, on opening: the answers themselves are checked when they are read.
    """
    terms = _read_terms(db, path)
    known: set[bytes] = set()
    for row in db.execute("SELECT account, key, digest FROM keys"):
        check_row(path, "the key of an account", *row)
        known.add(row[0])
    asked: set[tuple[bytes, bytes]] = set()
    for row in db.execute("SELECT account, call, images, digest FROM calls"):
        check_row(path, "a call", *row)
        if terms.api_keys and row[0] not in known:
            raise damaged(path, "an account that asked is gone")
        ids = REPEATS[terms.repeats](row[1], split(row[2]))
        asked.update((row[0], id) for id in ids)
    if asked != set(db.execute("SELECT account, id FROM answers")):
        raise damaged(path, "its answers are not those of its calls")
    return Ledger(db, path, terms)


def _read_terms(db: sqlite3.Connection, path: Path) -> Terms:
    rows = db.execute("SELECT content, digest FROM header").fetchall()
    if len(rows) != 1:
        raise damaged(path, "no header")
    check_row(path, "the header", *rows[0])
    fields: dict[str, Any] = json.loads(rows[0][0])
    refuse_if(
        not set(fields) ^ set(Terms._fields) <= _LATER_TERMS,
        f"{path} was made by another version of sslx; {way_out(path)} to ask again",
    )
    return Terms(**fields | {"image_shape": tuple(fields["image_shape"])})
