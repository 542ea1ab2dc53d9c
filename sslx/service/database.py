"""sqlite as the service uses it: all or nothing, errors in one line, rows with digests.

sqlite itself does not notice a flipped byte; every row that is stored carries a digest
of its other columns.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslx.types import UserError

# Another process holds the file's lock while the victim works on its call, which with
# a first compilation takes minutes.
WAIT = 600.0  # seconds

# Failures of the disk, the rights or the neighbours; any other is a damaged file.
_SURROUNDINGS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def way_out(path: Path) -> str:
    """What to delete so that all can be asked again: the run, or the file alone."""
    folder = path.absolute().parent
    in_run = (folder / "meta.json").is_file()
    return f"delete the run directory {folder}" if in_run else "delete that file"


def damaged(path: Path, what: str) -> UserError:
    """The error for a file that is not what was written, and the way out."""
    return UserError(f"{path} is damaged ({what}); {way_out(path)} to ask again")


def digest(*parts: bytes) -> bytes:
    """sha256 over the parts, each led by its length so that no two lists collide."""
    out = hashlib.sha256()
    for part in parts:
        out.update(len(part).to_bytes(8, "little"))
        out.update(part)
    return out.digest()


def check_name(what: str, name: object) -> None:
    """Raises a UserError unless a name can be stored."""
    if not isinstance(name, str) or not name:
        raise UserError(f"{what} is a text, not {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} has half a character in it: {name!r}") from None


def check_row(path: Path, what: str, *row: Any) -> None:
    """Raises unless the row's last item is the digest of the others."""
    # A flipped byte can also turn a blob into a number or a text.
    whole = all(isinstance(part, bytes) for part in row)
    if not whole or digest(*row[:-1]) != row[-1]:
        raise damaged(path, f"{what} is not as it was written")


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
            full = code & 0xFF == sqlite3.SQLITE_FULL
            way_on = "; make room there, and the same command goes on" if full else ""
            raise UserError(f"cannot use {path}: {error}{way_on}") from error
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


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Opens a file, mode ``ro`` or ``rwc``; statements outside a transaction stand."""
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
