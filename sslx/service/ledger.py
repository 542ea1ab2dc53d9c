"""What was asked and what was answered, in one sqlite file.

A call is the list of its images' hashes, an answer belongs to an account and a hash.
Every count is derived from these two, so no counter can disagree with the store.
Every row carries a digest: sqlite itself does not notice a flipped byte.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sslx.types import UserError

HASH = 32  # bytes of a sha256
# Another process holds the file's lock while the victim works on its call, which with
# a first compilation takes minutes.
WAIT = 600.0  # seconds

# `calls` has no rowid, so that it is one tree and not a table beside an index: what
# `_check_whole` has read is then what the counts are made of.
_SCHEMA = """
CREATE TABLE header (content BLOB, digest BLOB);
CREATE TABLE calls (account BLOB, call BLOB, images BLOB, digest BLOB,
                    PRIMARY KEY (account, call)) WITHOUT ROWID;
CREATE TABLE answers (account BLOB, image BLOB, answer BLOB, digest BLOB,
                      PRIMARY KEY (account, image));
CREATE TABLE states (account BLOB PRIMARY KEY, state BLOB, digest BLOB);
"""

# Failures of the disk, the rights or the neighbours; any other is a damaged file.
_SURROUNDINGS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
}


class Header(NamedTuple):
    """What a ledger was made for.

    Attributes:
        dim: Numbers per answer.
        image_shape: (h, w, c) of the images it takes.
        limit: Images an account may send, None for no limit.
    """

    dim: int
    image_shape: tuple[int, ...]
    limit: int | None


class Ledger(NamedTuple):
    """An open ledger: the connection, the file it is of, and what that was made for."""

    db: sqlite3.Connection
    path: Path
    header: Header


class Counters(NamedTuple):
    """An account's bill.

    Attributes:
        unique_images: Different images sent, by the hash of their pixels.
        images: Images sent, repeated ones too: the number of queries.
        calls: Calls, each id once.
        values: Numbers given back, images x dim.
        limit: Images the account may send, None for no limit.
    """

    unique_images: int
    images: int
    calls: int
    values: int
    limit: int | None


def damaged(path: Path, what: str) -> UserError:
    """The error for a file that is not what was written, and the way out."""
    folder = path.absolute().parent
    return UserError(
        f"{path} is damaged ({what}); delete the run directory {folder} to ask again"
    )


def digest(*parts: bytes) -> bytes:
    """sha256 over the parts, each led by its length so that no two lists collide."""
    out = hashlib.sha256()
    for part in parts:
        out.update(len(part).to_bytes(8, "little"))
        out.update(part)
    return out.digest()


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turns sqlite's errors within into a UserError that names the file."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.NotSupportedError):
        raise  # a mistake of ours, not of the file
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:  # needs a writer to undo it
            raise UserError(
                f"{path} is as a killed run left it, within a write; run that again"
            ) from error
        if code & 0xFF in _SURROUNDINGS and code != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise UserError(f"cannot use {path}: {error}") from error
        # A damaged name of a table can stand in the text, line breaks and all.
        what = "".join(c if c.isprintable() else "?" for c in str(error))
        raise damaged(path, what) from error


@contextmanager
def transaction(db: sqlite3.Connection, path: Path, kind: str) -> Iterator[None]:
    """All that is done within happens, or nothing of it, whatever stops it.

    Args:
        db: The connection.
        path: Its file, for messages.
        kind: ``IMMEDIATE`` takes the write lock at once, so that what is read within
            still holds when it is acted on; ``DEFERRED`` sees one state of the file.
    """
    with one_line(path):
        try:
            db.execute(f"BEGIN {kind}")
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # sqlite ends some by itself, on a full disk
                db.execute("ROLLBACK")
            raise


def open_ledger(path: str | os.PathLike, header: Header) -> Ledger:
    """Opens a ledger to write, making it if it is missing.

    Raises:
        UserError: The file is damaged, or was made for another header.
    """
    path = Path(path)
    db = _connect(path, "rwc")
    try:
        with transaction(db, path, "IMMEDIATE"):
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                content = json.dumps(header._asdict()).encode()
                db.execute(
                    "INSERT INTO header VALUES (?, ?)", (content, digest(content))
                )
            found = _read_header(db, path)
            _check_whole(db, path)
        for name, was, now in zip(header._fields, found, header, strict=True):
            if was != now:
                raise UserError(
                    f"{path} was made for {name} {was}, not {now}; name another file, "
                    f"or delete the run directory {path.absolute().parent}"
                )
    except BaseException:
        db.close()
        raise
    return Ledger(db, path, found)


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[Ledger]:
    """A ledger that is only read, at one moment of its life; never makes a file.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no answers at {path}: nothing was asked there yet")
    db = _connect(path, "ro")
    with closing(db), transaction(db, path, "DEFERRED"):
        header = _read_header(db, path)
        _check_whole(db, path)
        yield Ledger(db, path, header)


def find_call(ledger: Ledger, account: str, call: str) -> list[bytes] | None:
    """The hashes of the images a call asked, in order; None for a call not made."""
    query = "SELECT images, digest FROM calls WHERE account = ? AND call = ?"
    images = _find(ledger, f"call {call!r}", query, account.encode(), call.encode())
    return None if images is None else _split(images)


def find_answer(ledger: Ledger, account: str, image: bytes) -> bytes | None:
    """The stored answer to an image, float32 little-endian; None for a new image."""
    query = "SELECT answer, digest FROM answers WHERE account = ? AND image = ?"
    what = f"the answer to image {image.hex()[:12]}"
    return _find(ledger, what, query, account.encode(), image)


def find_state(ledger: Ledger, account: str) -> bytes | None:
    """The account's defence state as it was saved; None if none was."""
    query = "SELECT state, digest FROM states WHERE account = ?"
    return _find(ledger, "the state of a defence", query, account.encode())


def add_answer(ledger: Ledger, account: str, image: bytes, answer: bytes) -> None:
    """Stores the answer to an image that is new to the account."""
    row = (account.encode(), image, answer)
    ledger.db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (*row, digest(*row)))


def add_call(ledger: Ledger, account: str, call: str, images: list[bytes]) -> None:
    """Stores which images a new call asked."""
    row = (account.encode(), call.encode(), b"".join(images))
    ledger.db.execute("INSERT INTO calls VALUES (?, ?, ?, ?)", (*row, digest(*row)))


def save_state(ledger: Ledger, account: str, state: bytes) -> None:
    """Replaces the account's defence state."""
    row = (account.encode(), state)
    ledger.db.execute(
        "INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (*row, digest(*row))
    )


def count(ledger: Ledger, account: str) -> Counters:
    """The account's bill, all zero for one that never asked."""
    calls, sent, unique = ledger.db.execute(
        "SELECT count(*), coalesce(sum(length(images)), 0),"
        " (SELECT count(*) FROM answers WHERE account = :account)"
        " FROM calls WHERE account = :account",
        {"account": account.encode()},
    ).fetchone()
    images = sent // HASH
    return Counters(
        unique, images, calls, images * ledger.header.dim, ledger.header.limit
    )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with one_line(path):
        db = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None)
        try:
            # Reads the names of the tables, which sqlite3 may fail even to report.
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
        except BaseException as error:
            db.close()
            if isinstance(error, UnicodeDecodeError):
                raise damaged(path, "malformed database schema") from error
            raise
    return db


def _read_header(db: sqlite3.Connection, path: Path) -> Header:
    rows = db.execute("SELECT content, digest FROM header").fetchall()
    if len(rows) != 1:
        raise damaged(path, "no header")
    _check_row(path, "the header", *rows[0])
    fields: dict[str, Any] = json.loads(rows[0][0])
    return Header(fields["dim"], tuple(fields["image_shape"]), fields["limit"])


def _find(ledger: Ledger, what: str, query: str, *ids: bytes) -> bytes | None:
    """The first column of the one row with these ids, once its digest is checked."""
    row = ledger.db.execute(query, ids).fetchone()
    if row is None:
        return None
    _check_row(ledger.path, what, *ids, *row)
    return row[0]


def _check_whole(db: sqlite3.Connection, path: Path) -> None:
    """Checks that the calls are as written and that the answers are to their images.

    Once, on opening: the answers themselves are checked when they are read.
    """
    asked: set[tuple[bytes, bytes]] = set()
    for row in db.execute("SELECT account, call, images, digest FROM calls"):
        _check_row(path, "a call", *row)
        asked.update((row[0], image) for image in _split(row[2]))
    if asked != set(db.execute("SELECT account, image FROM answers")):
        raise damaged(path, "its answers are not those of its calls")


def _check_row(path: Path, what: str, *row: Any) -> None:
    """Raises unless the row's last item is the digest of the others."""
    # A flipped byte can also turn a blob into a number or a text.
    whole = all(isinstance(part, bytes) for part in row)
    if not whole or digest(*row[:-1]) != row[-1]:
        raise damaged(path, f"{what} is not as it was written")


def _split(images: bytes) -> list[bytes]:
    return [images[i : i + HASH] for i in range(0, len(images), HASH)]
