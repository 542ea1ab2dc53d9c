"""Opening a ledger: it is made or brought up to date, and seen to be whole."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sslx.service.database import (
    check_row,
    connect,
    damaged,
    digest,
    transaction,
    way_out,
)
from sslx.service.ledger import HASH, OF_ALL, Ledger, find_spent, set_spent, split
from sslx.service.terms import REPEATS, Spent, Terms, check_same
from sslx.types import refuse_if

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
# And what those lack that were made since, before there were totals.
_TOTALS = """
CREATE TABLE totals (account BLOB PRIMARY KEY, spent BLOB, digest BLOB) WITHOUT ROWID
"""
_LATER_TERMS = {"secret", "calibration", "defence"}
# In place of the first, for who only reads.
_VIEW = "CREATE TEMP VIEW answers AS SELECT *, x'' AS notes FROM main.answers"


def open_ledger(path: str | os.PathLike, terms: Terms) -> Ledger:
    """Opens a ledger to write, making it if it is missing, for its owner alone.

    Raises:
        UserError: The file is damaged, or was made for other terms; it is as it was.
    """
    path = Path(path)
    # Never of a file that is there: closing it would end the locks of this process.
    with suppress(OSError):  # sqlite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    db = connect(path, "rwc")
    try:
        with transaction(db, path, "IMMEDIATE"):
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                _execute(db, _SCHEMA)
                content = json.dumps(terms._asdict()).encode()
                db.execute(
                    "INSERT INTO header VALUES (?, ?)", (content, digest(content))
                )
            ledger = _whole(db, path)
            check_same(path, ledger.terms, terms)
            _bring_up_to_date(ledger)
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


def _bring_up_to_date(ledger: Ledger) -> None:
    """Gives an older file what it lacks; the totals of another are checked."""
    db = ledger.db
    if not _has_notes(db):
        _execute(db, _LATER)
    calls = "SELECT account, sum(length(images)), count(*) FROM calls GROUP BY account"
    spent = {a: Spent(size // HASH, n) for a, size, n in db.execute(calls)}
    if spent:
        spent[OF_ALL] = Spent(*map(sum, zip(*spent.values(), strict=True)))
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'totals'").fetchone():
        _execute(db, _TOTALS)
        for account, own in spent.items():
            set_spent(ledger, account, own)
    names = {account for (account,) in db.execute("SELECT account FROM totals")}
    if names != set(spent) or any(find_spent(ledger, a) != spent[a] for a in names):
        raise damaged(ledger.path, "its totals are not those of its calls")


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


def _execute(db: sqlite3.Connection, statements: str) -> None:
    # One by one: `executescript` would commit the transaction.
    for statement in statements.split(";"):
        db.execute(statement)


def _has_notes(db: sqlite3.Connection) -> bool:
    columns = db.execute("SELECT name FROM pragma_table_info('answers')")
    return ("notes",) in columns.fetchall()
