"""Ids of prepared sets, remembered between programs.

Reading the ids of 60,000 records takes 3 seconds, and every start of an experiment asks
for them to know which rows are whose. The archive's own checksum tells damage.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sslx.runs.files import read_arrays, replacing

FOLDER = "~/.cache/sslx/ids"
FORMAT = 1  # to be raised where ids come to be made in another way


def remembered(stamp: Any, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """``compute()``, or what it gave when it was asked with this stamp before.

    Args:
        stamp: JSON-like; all that the ids depend on.
        compute: Gives int64 (n,).
    """
    content = json.dumps([FORMAT, stamp]).encode()
    name = hashlib.sha256(content).hexdigest()[:32]
    path = Path(FOLDER).expanduser() / f"{name}.npz"
    with suppress(ValueError, KeyError):  # none yet, or damaged
        return read_arrays(path)["ids"]
    ids = compute()
    with suppress(OSError):  # a home that cannot be written to only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, shared=True) as file:
            np.savez(file, ids=ids)
    return ids
