"""Image classification sets as arrays: uint8 NHWC images and integer labels."""

import numpy as np

from sslx.data.digits import DIGITS
from sslx.data.npz import NPZ
from sslx.data.source import Info, Source, Split
from sslx.registry import pick
from sslx.types import UserError

# What stands before the colon of a name ("npz:/some/file.npz"), or the whole name.
SOURCES: dict[str, Source] = {"digits": DIGITS, "npz": NPZ}

SPLITS = ("train", "test")


def _source(name: str) -> tuple[Source, str]:
    kind, _, rest = name.partition(":")
    return pick(SOURCES, kind, "data set"), rest


def describe(name: str, data_dir: str | None = None) -> Info:
    """What a data set is, without holding its images; see ``Info``.

    Raises:
        UserError: Unknown name, or the set cannot be read.
    """
    source, rest = _source(name)
    return source.describe(rest, data_dir)


def _read(name: str, split: str, data_dir: str | None) -> tuple[Split, np.ndarray]:
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    source, rest = _source(name)
    loaded, ids = source.load(rest, split, data_dir)
    for array in (*loaded, ids):
        array.flags.writeable = False  # sources may hand the same array out again
    return loaded, ids


def load(name: str, split: str, data_dir: str | None = None) -> Split:
    """Loads a split.

    Args:
        name: ``digits`` or ``npz:PATH``.
        split: ``train`` or ``test``.
        data_dir: Where prepared sets lie; the built-in set and npz files need none.

    Returns:
        ``Split(images, labels)``: uint8 (n, h, w, c) and int32 (n,), read-only.

    Raises:
        UserError: Unknown name or split, or the set cannot be read.
    """
    return _read(name, split, data_dir)[0]


def ids(name: str, split: str, data_dir: str | None = None) -> np.ndarray:
    """Which original each row of ``load`` shows, int64 (n,).

    Rows that share an id (placements of one digit) belong on the same side of any
    further split.
    """
    return _read(name, split, data_dir)[1]
