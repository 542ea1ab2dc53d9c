"""What a machine lacks, told in one line with what to do."""

import errno
import os
import re

import numpy as np
import pytest

from sslx.cli.command import in_a_line
from sslx.runs.files import read_arrays, replacing, save_array
from sslx.runs.trouble import trouble
from sslx.train import checkpoint, logbook
from sslx.types import UserError


def led_to(error, by):
    error.__context__ = by
    return error


TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "opt.0/0" in OCDBT database at local file '
    '"/w/ckpt/4.tmp/": Failed to write 42828 bytes to file 15: '
)


@pytest.mark.parametrize(
    "error,expected",
    [
        (OSError(errno.ENOSPC, "", "/w/x"), "No space left on device: /w/x; make room"),
        (OSError(errno.EDQUOT, ""), "Disk quota exceeded: HERE; .*quota raised"),
        (OSError(errno.EROFS, "", "/w"), "Read-only file system: /w; name another"),
        (OSError(errno.EMFILE, ""), "Too many open files: HERE; .*ulimit -n"),
        (PermissionError(errno.EACCES, "", "/w"), "Permission denied: /w; have its"),
        (NotADirectoryError(errno.ENOTDIR, "", "/f/w"), "/f/w; a file is in the place"),
        (FileExistsError(errno.EEXIST, "", "/f"), "/f; .* a link to nothing"),
        (OSError(errno.ENAMETOOLONG, "", "/w"), "File name too long: /w; name a short"),
        (
            ValueError(f"{TENSORSTORE}No space left on device [os_error_code='28']"),
            "No space left on device: /w/ckpt/4.tmp/; make room",
        ),
        (ValueError(f"{TENSORSTORE}Disk quota exceeded"), "quota exceeded: /w/ckpt"),
        (
            led_to(RuntimeError("Event loop is closed"), OSError(errno.ENOSPC, "")),
            "No space left on device: HERE; .*the same command goes on",
        ),
        (
            ExceptionGroup("two", [ValueError("x"), OSError(errno.ENOSPC, "", "/w")]),
            "No space left on device: /w",
        ),
        (MemoryError(), "out of memory; lower a batch_size"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore"),
            r"out of memory \(RESOURCE_EXHAUSTED: .* 9 bytes.\); lower a batch_size",
        ),
        (ValueError("an error of ours"), None),
        (KeyError("No such"), None),
    ],
)
def test_what_is_told(error, expected):
    # Catches a number without a word, no place, no way out, and a mistake of ours
    # that is passed off as the machine's.
    line = trouble(error, "HERE")
    if expected is None:
        assert line is None and in_a_line(error) is None
        return
    assert re.search(expected, line) and "\n" not in line, line
    assert in_a_line(UserError("as it is")) == "as it is"


def test_a_short_write_of_numpy(tmp_path):
    # Catches NumPy's "9000 requested and 512 written", which has no number.
    def full():
        raise OSError("9000 requested and 512 written")

    with pytest.raises(OSError) as error, replacing(tmp_path / "x.npy"):
        full()
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="another"), replacing(tmp_path / "x.npy"):
        raise OSError("another")
    save_array(tmp_path / "x.npy", np.zeros(2))


def test_nothing_is_called_damaged_that_is_not(tmp_path, monkeypatch):
    # Catches the advice to delete what only cannot be opened at the moment.
    np.savez(tmp_path / "x.npz", x=np.zeros(2))
    for error in (PermissionError(errno.EACCES, "", "x"), MemoryError()):

        def lacking(*_, error=error, **__):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(np, "load", lacking)
            with pytest.raises(UserError, match="Permission denied|out of memory"):
                read_arrays(tmp_path / "x.npz")
            patch.setattr(checkpoint.ocp, "StandardCheckpointHandler", lacking)
            (tmp_path / "ckpt" / "4").mkdir(parents=True, exist_ok=True)
            with pytest.raises(UserError, match="cannot be read") as told:
                checkpoint.load(tmp_path, "state", {})
            assert "delete" not in str(told.value)


def test_a_board_that_cannot_be_written(tmp_path, monkeypatch):
    # Catches a training that waits for ever for TensorBoard's dead thread.
    monkeypatch.setattr(logbook, "_FLUSH", -1)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        pytest.raises(OSError, match="No space left"),
        logbook.open_logbook(tmp_path, 0) as book,
    ):
        monkeypatch.setattr(logbook.EventsWriter, "flush", full)
        monkeypatch.setattr(logbook.EventsWriter, "close", lambda _: None)
        for step in range(1, 40):
            book(step, {"loss": 1.0})
    assert [row["step"] for row in logbook.read_rows(tmp_path)] == [1]


def hides(error, by):
    error.__context__, error.__suppress_context__ = by, True
    return error


@pytest.mark.parametrize(
    "error",
    [
        hides(KeyError("a mistake of ours"), FileExistsError(errno.EEXIST, "", "/f")),
        ValueError("Out of memory is what this word says"),
    ],
)
def test_mistakes_of_ours_keep_their_traceback(error):
    # Catches a bug that is told as a full disk or as want of memory.
    assert trouble(error) is None
