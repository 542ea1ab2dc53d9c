"""A file that is not what was written is never believed."""

import random
import sqlite3

import pytest

from sslx.service import read_counters
from sslx.service.database import digest
from sslx.types import UserError
from tests.service.box import KEYS, SERVICES, everything, opened, pictures, written


def assert_damaged(path, act):
    with pytest.raises(UserError) as e:
        act()
    message = str(e.value)
    assert f"{path} is damaged" in message and "\n" not in message
    assert "delete that file to ask again" in message


@pytest.mark.parametrize(
    ("table", "column", "kw"),
    [
        ("answers", "answer", SERVICES[0]),
        ("answers", "answer", SERVICES[1]),
        ("calls", "images", SERVICES[0]),
        ("calls", "images", SERVICES[1]),
        ("header", "content", SERVICES[0]),
        ("keys", "key", SERVICES[1]),
    ],
)
def test_a_flipped_byte_in_a_row_is_found(tmp_path, table, column, kw):
    # Stored answers, calls, settings or keys believed as they lie on the disk.
    path = tmp_path / "a.sqlite"
    written(path, **kw)
    with sqlite3.connect(path) as db:
        (value,) = db.execute(f"SELECT {column} FROM {table}").fetchone()
    db.close()
    raw = bytearray(path.read_bytes())
    assert raw.count(value) == 1
    raw[raw.index(value) + len(value) // 2] ^= 1
    path.write_bytes(raw)
    assert_damaged(path, lambda: everything(path))

    def ask_again():
        service = opened(path, limit=40, **kw)
        try:
            service.query("a", pictures(6), "0", api_key=KEYS["a"])
        finally:
            service.close()

    assert_damaged(path, ask_again)


@pytest.mark.parametrize("kw", SERVICES, ids=["plain", "fresh-keys"])
def test_no_flipped_byte_changes_what_is_read(tmp_path, kw):
    # A part of the file that no digest covers: keys, indices, sqlite's own pages.
    path = tmp_path / "a.sqlite"
    expected, raw, draw = written(path, **kw), path.read_bytes(), random.Random(0)
    found = 0
    for _ in range(300):
        at = draw.randrange(len(raw))
        path.write_bytes(
            raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :]
        )
        try:
            assert everything(path) == expected  # a byte of no meaning
        except UserError as error:
            found += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert found > 20


def test_a_truncated_file_is_found(tmp_path):
    # sqlite's own traceback, or a file begun anew over what was paid for.
    path = tmp_path / "a.sqlite"
    written(path)
    raw = path.read_bytes()
    for size in (len(raw) - 4096, len(raw) // 2, 3000, 100, 10):
        path.write_bytes(raw[:size])
        assert_damaged(path, lambda: everything(path))
        assert_damaged(path, lambda: opened(path, limit=40))
    path.write_text("no database, though long enough to be one\n" * 100)
    assert_damaged(path, lambda: opened(path))


def test_a_damaged_name_is_reported_in_one_line(tmp_path):
    # A line break out of the damaged file in the one line of the error.
    path = tmp_path / "a.sqlite"
    written(path)
    raw = path.read_bytes().replace(b"tablecallscalls", b"tableca\nlscalls")
    path.write_bytes(raw.replace(b"CREATE TABLE calls", b"CREXTE TABLE calls"))
    assert_damaged(path, lambda: everything(path))


@pytest.mark.parametrize("table", ["calls", "answers", "keys"])
def test_a_lost_or_added_row_is_found(tmp_path, table):
    # Each row whole, but a call or answer gone, and with it a part of the bill; or an
    # account, whose name could then be taken with another key.
    for i, kw in enumerate(SERVICES[1:] if table == "keys" else SERVICES):
        path = tmp_path / f"{i}.sqlite"
        written(path, **kw)
        with sqlite3.connect(path) as db:
            db.execute(f"DELETE FROM {table} WHERE account = ?", (b"b",))
        db.close()
        assert_damaged(path, lambda path=path: read_counters(path, "a"))


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    # A mistyped folder answered with the advice to delete a run.
    path = tmp_path / "none" / "a.sqlite"
    with pytest.raises(UserError, match=f"^cannot use {path}: unable to open"):
        opened(path)


def test_a_file_of_another_version_is_not_called_damaged(tmp_path):
    # A traceback, or a guess at terms that the file does not state.
    path = tmp_path / "a.sqlite"
    written(path)
    old = b'{"dim": 4, "image_shape": [2, 3, 1], "limit": 40}'
    with sqlite3.connect(path) as db:
        db.execute("UPDATE header SET content = ?, digest = ?", (old, digest(old)))
        db.execute("DROP TABLE keys")
    db.close()
    for act in (lambda: read_counters(path, "a"), lambda: opened(path, limit=40)):
        with pytest.raises(
            UserError, match="by another version of sslx; delete that file"
        ):
            act()


def test_the_way_out_of_a_run(tmp_path):
    # Catches advice to delete a folder that is no run's, or a file without which a
    # finished run would be left with nothing.
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no ledger" * 1000)
    with pytest.raises(UserError, match="delete that file to ask again"):
        read_counters(path, "a")
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(UserError, match=f"delete the run directory {tmp_path} to ask"):
        read_counters(path, "a")
