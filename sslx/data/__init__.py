"""Image classification sets as arrays: uint8 NHWC images and integer labels."""

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Source, Split
from sslx.data.sources.digits import DIGITS
from sslx.data.sources.folder import FOLDER
from sslx.data.sources.npz import NPZ
from sslx.data.sources.tfds import TFDS
from sslx.data.splits import joined
from sslx.registry import NoModule, code_of, pick
from sslx.runs.names import fingerprint
from sslx.types import refuse_if

__all__ = [
    "Info",
    "Missing",
    "Options",
    "SOURCES",
    "describe",
    "find",
    "ids",
    "load",
    "marks",
    "name_of",
]

# What stands before the colon of a name ("npz:/some/file.npz"), or the whole name. Any
# other name is MODULE:NAME of a source of one's own, or that of a TFDS set.
SOURCES: dict[str, Source] = {"digits": DIGITS, "folder": FOLDER, "npz": NPZ}

SPLITS = ("train", "test")
AS_THEY_ARE = Options()


def _source(name: str) -> tuple[Source, str, dict[str, Any]]:
    """The source of a set, what it is told, and what ``Info.identity`` must hold."""
    kind, _, rest = name.partition(":")
    if kind in SOURCES:
        return SOURCES[kind], rest, {}
    own, _, rest = rest.partition(":")
    if own.isidentifier():
        with suppress(NoModule):
            source = pick(SOURCES, f"{kind}:{own}", "data set", own=True)
            return source, rest, code_of(f"{kind}:{own}")
    return TFDS, name, {}


def _check_split(split: str) -> None:
    refuse_if(
        split not in SPLITS, f"unknown split {split!r}; known: {', '.join(SPLITS)}"
    )


def find(name: str, options: Options = AS_THEY_ARE) -> None:
    """Makes sure that a data set is at hand, and reads nothing of it.

    Raises:
        Missing: It is not, and was not to be downloaded (a UserError).
        UserError: Unknown name, or it cannot be downloaded.
    """
    source, rest, _ = _source(name)
    source.find(rest, options)


def describe(name: str, options: Options = AS_THEY_ARE) -> Info:
    """What a data set is, without holding its images; see ``Info``.

    Raises:
        Missing: The set is not at hand (a UserError).
        UserError: Unknown name, or the set cannot be read.
    """
    source, rest, code = _source(name)
    info = form.described(source.describe(rest, options), options)
    identity = info.identity | code
    own = {split: source.ids(rest, split, options) for split in info.sizes}
    alike = {split: ids(name, split, options) for split in info.sizes}
    if any((alike[split] != own[split]).any() for split in info.sizes):
        identity["copies"] = form.digest(*alike.values())  # they decide who sees what
    return info._replace(identity=identity)


def load(name: str, split: str, options: Options = AS_THEY_ARE) -> Split:
    """Loads a split.

    Args:
        name: ``digits``, ``npz:PATH``, ``folder:PATH``, the name of a TFDS set, or
            ``MODULE:NAME`` or ``MODULE:NAME:REST`` for a ``Source`` of one's own.
        split: ``train`` or ``test``.
        options: Where sets lie and the form that images are brought to.

    Returns:
        ``Split(images, labels)``: uint8 (n, h, w, c) and int32 (n,), read-only.

    Raises:
        UserError: Unknown name or split, or the set cannot be read.
    """
    _check_split(split)
    source, rest, _ = _source(name)
    images, labels = source.load(rest, split, options)
    loaded = Split(form.fit_all(images, options), labels)
    for array in loaded:
        array.flags.writeable = False  # sources may hand the same array out again
    return loaded


def ids(name: str, split: str, options: Options = AS_THEY_ARE) -> np.ndarray:
    """Which original each row of ``load`` shows, int64 (n,).

    Rows that share an id (placements of one digit, copies of one image) belong on the
    same side of any further split.
    """
    _check_split(split)
    source, rest, _ = _source(name)
    return joined(source.ids(rest, split, options), marks(name, split, options))


def marks(name: str, split: str, options: Options = AS_THEY_ARE) -> np.ndarray:
    """What tells the images of ``load`` apart by their pixels, in all sets alike.

    Returns:
        int64 (n,), read-only; equal where shape and pixels are.
    """
    _check_split(split)
    source, rest, _ = _source(name)
    if source.marks:
        return source.marks(rest, split, options)
    return _marks(
        fingerprint(source.describe(rest, options).identity), name, split, options
    )


@lru_cache(maxsize=64)
def _marks(content: str, name: str, split: str, options: Options) -> np.ndarray:
    """The same; ``content`` tells versions of the set apart."""
    found = form.pixel_ids(load(name, split, options).images)
    found.flags.writeable = False
    return found


def name_of(name: str, split: str, row: int, options: Options = AS_THEY_ARE) -> str:
    """What people call an image of a set: its file, or its place in the split."""
    source, rest, _ = _source(name)
    if source.name_of:
        return source.name_of(rest, split, row, options)
    return f"{split}[{row}]"
