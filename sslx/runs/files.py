"""The files of a run: written in one step each, so that a kill leaves old or new."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sslx import hosts
from sslx.runs.names import Run, fingerprint_of
from sslx.runs.trouble import trouble
from sslx.types import UserError
from sslx.version import __version__

CHECKPOINTS = "ckpt"  # folder of a run


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the place of ``path`` when it is whole.

    Args:
        path: The file. What was there stays where writing fails.
        shared: Whether another process may be about to write it, too; of a run's files
            none may, so that what a killed one has left is written over.
    """
    own = f".{os.getpid()}" if shared else ""
    fresh = path.with_name(f"{path.name}{own}.tmp")
    try:
        with open(fresh, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:  # of a full disk: NumPy's has no number, none a name
        short = error.errno is None and "requested and" in str(error)
        code = errno.ENOSPC if short else error.errno
        if code is None or error.filename:
            raise
        raise OSError(code, os.strerror(code), str(path)) from None
    finally:
        fresh.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Replaces a JSON file in one step, so that a kill leaves the old or the new."""
    with replacing(path) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file in one step, so that a kill leaves all of it or nothing."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def read_json(path: Path) -> Any:
    """Reads a JSON object of a run.

    Raises:
        UserError: It is missing or none.
    """
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file by their names; nothing in it is executed.

    Raises:
        ValueError: It is damaged, no npz file, or holds anything but arrays.
        UserError: The right, the memory or the like is missing to read it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # damage and pickled objects raise nearly anything
        if line := trouble(error):
            raise UserError(f"{path}: {line}") from None
        raise ValueError from None
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError  # some other zip file, such as a renamed .pth
    return arrays


def is_finished(run: Run) -> bool:
    """Whether the run has come to its end."""
    path = run.path / "meta.json"
    return path.exists() and bool(read_json(path).get("finished"))


def write_meta(run: Run, *, finished: bool, **more: Any) -> None:
    """Writes meta.json: what a later stage needs to open the run.

    Of several processes the first alone writes.

    Args:
        run: The run.
        finished: Whether it has come to its end.
        **more: The stage's own entries, over those already there.
    """
    if not hosts.first():
        return

    path = run.path / "meta.json"
    old = read_json(path) if path.exists() else {}
    meta = old | {
        "stage": run.stage,
        "name": run.name,
        "fingerprint": fingerprint_of(run),
        "parents": {role: f"{p.stage}/{p.name}" for role, p in run.parents.items()},
        "sslx": __version__,
        "finished": finished,
        **({"words": run.words} if run.words else {}),
    }
    write_json(path, meta | more)
