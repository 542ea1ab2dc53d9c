"""What accounts asked, from a file: a service's, or of arrays or lines of JSON."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslx.service.bills import LEDGER
from sslx.service.detectors.detector import Stream
from sslx.service.readers import read_asked
from sslx.types import UserError, printable, refuse_if

LARGEST = 3e38  # of float32
COLUMNS = ("account", "time", "features")
NEEDS = (
    "traffic is account, time and features: arrays of an .npz of n rows, or n lines "
    'like {"account": "a", "time": 0, "features": [0.1, 0.2]}'
)


def read_traffic(path: str | os.PathLike) -> list[Stream]:
    """The streams of all accounts of a file, in the order of their names.

    Args:
        path: A service's file or the run that holds it, an .npz with the arrays account
            (n,), time (n,) and features (n, d), or a file with a JSON object of these
            a line. Within an account times may not fall; equal ones are in the order
            in which they are written. In a service's file the time is the number of
            the call.

    Raises:
        UserError: No such file, or one that is none of these; the message names the
            row.
    """
    path = Path(path)
    path = path / LEDGER if path.is_dir() else path
    try:
        with open(path, "rb") as file:
            begin = file.read(16)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    refuse_if(not begin, f"{path} is empty; {NEEDS}")
    if begin.startswith(b"SQLite format 3\0"):
        streams = _of_ledger(path)
    elif begin.startswith(b"PK"):
        streams = _of_arrays(path, _npz(path))
    else:
        refuse_if(
            begin.startswith(b"\x93NUMPY"),
            f"{path} is a single array, a .npy file; {NEEDS}",
        )
        streams = _of_arrays(path, _lines(path))
    return streams


def _of_ledger(path: Path) -> list[Stream]:
    asked = read_asked(path)
    refuse_if(not asked, f"{path} holds no queries: nothing was asked there yet")
    return [
        Stream(account, calls.astype(np.float64), answers)
        for account, (calls, answers) in sorted(asked.items())
    ]


def _of_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> list[Stream]:
    """Streams of checked columns; their rows may be of any accounts."""
    account, time, features = (arrays[name] for name in COLUMNS)
    refuse_if(
        features.ndim != 2 or not features.shape[1],
        f"{path}: features have the shape {features.shape}, not (n, d)",
    )
    n = len(features)
    refuse_if(not n, f"{path} holds no queries; {NEEDS}")
    for name, column in (("account", account), ("time", time)):
        refuse_if(
            column.shape != (n,),
            f"{path}: {name} has the shape {column.shape}, where {n:,} features want "
            f"({n},)",
        )
    refuse_if(
        account.dtype.kind not in "USiu",
        f"{path}: account is {account.dtype}, neither text nor whole numbers",
    )
    for name, column in (("time", time), ("features", features)):
        refuse_if(
            column.dtype.kind not in "iuf",
            f"{path}: {name} are {column.dtype}, not numbers",
        )
        finite = (np.abs(column.reshape(n, -1)) < LARGEST).all(axis=1)  # no NaN is
        if not finite.all():
            row = int(np.argmin(finite))
            raise UserError(f"{path}: {name} of row {row:,} are not finite numbers")
    if account.dtype.kind == "S":
        account = np.char.decode(account, "utf-8", "backslashreplace")
    account = account.astype(str)
    streams = []
    for name in np.unique(account):
        own = np.flatnonzero(account == name)
        times = time[own].astype(np.float64)
        if (back := np.flatnonzero(np.diff(times) < 0)).size:
            row = int(own[back[0] + 1])
            raise UserError(
                f"{path}: account {str(name)!r} goes back in time in row {row:,}; sort "
                "the rows by time"
            )
        refuse_if(not name, f"{path}: row {int(own[0]):,} has an account without name")
        streams.append(Stream(str(name), times, features[own].astype(np.float32)))
    return streams


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in COLUMNS if name not in file.files]
            refuse_if(
                missing,
                f"{path} lacks {', '.join(missing)}; {NEEDS}",
            )
            return {name: file[name] for name in COLUMNS}
    except ValueError as error:
        objects = "allow_pickle" in str(error)
        why = "holds Python objects, which are not read" if objects else "is damaged"
        raise UserError(f"{path} {why}; {NEEDS}") from None
    except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__})") from None


def _lines(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    with open(path, encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    _add_line(found, line, f"{path}, line {number:,}")
        except UnicodeDecodeError:
            raise UserError(f"{path} is no text in UTF-8; {NEEDS}") from None
    refuse_if(not found["account"], f"{path} holds no queries; {NEEDS}")
    return {name: np.array(column) for name, column in found.items()}


def _add_line(found: dict[str, list[Any]], line: str, where: str) -> None:
    try:
        entry = json.loads(line)
    except ValueError:
        raise UserError(f"{where} is no JSON: {printable(line[:40])}") from None
    refuse_if(not isinstance(entry, dict), f"{where} is no JSON object; {NEEDS}")
    missing = [name for name in COLUMNS if name not in entry]
    refuse_if(missing, f"{where} lacks {', '.join(missing)}; {NEEDS}")
    account, time, features = (entry[name] for name in COLUMNS)
    refuse_if(
        type(account) not in (str, int) or account == "",
        f"{where}: account is {account!r}, neither a text nor a whole number",
    )
    refuse_if(
        not isinstance(features, list) or not features,
        f"{where}: features are no list of numbers",
    )
    for name, values in (("time", [time]), ("features", features)):
        good = all(type(v) in (int, float) and abs(v) < LARGEST for v in values)
        refuse_if(not good, f"{where}: {name} are not finite numbers")
    width = len(found["features"][0]) if found["features"] else len(features)
    refuse_if(
        len(features) != width,
        f"{where} has {len(features):,} features, those before have {width:,}",
    )
    found["account"].append(str(account))
    found["time"].append(float(time))
    found["features"].append(np.array(features, np.float32))
