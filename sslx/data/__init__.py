"""Image classification sets as arrays: uint8 NHWC images and integer labels."""

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from sslx.data import form, labels
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
    "Split",
    "check_has",
    "check_labelled",
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


def check_has(info: Info, split: str, what: str) -> None:
    """Raises a UserError where a set has no such split."""
    refuse_if(
        split not in info.sizes,
        f"{what} has no {split} split, only {', '.join(info.sizes)}: it serves as "
        "steal.pool, or to train an encoder on",
    )


def check_labelled(info: Info, what: str, why: str) -> None:
    """Raises a UserError where a set tells no classes apart.

    Args:
        info: The set.
        what: What it is called.
        why: What needs its classes, and the way out.
    """
    found = "has no labels" if not info.classes else "has a single class"
    refuse_if(info.classes < 2, f"{what} {found}; {why}")


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
    read = source.describe(rest, options)
    info = form.described(read, options)
    refuse_if(
        None in info.image_shape,
        f"{name} has images of mixed size or channels; bring them together with "
        "data.size=PIXELS or data.channels=3",
    )
    # As they are read: what is no image of 1 or 3 channels cannot be brought to a form.
    form.check_shape(
        (*info.image_shape[:2], read.image_shape[2] or 1), f"{name}: images"
    )
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
        ``Split(images, labels)``: uint8 (n, h, w, c) and int32 (n,), read-only. The
        labels of a set without any are -1.

    Raises:
        UserError: Unknown name or split, a split that the set has not, or the set
            cannot be read.
    """
    _check_split(split)
    source, rest, _ = _source(name)
    info = source.describe(rest, options)
    check_has(info, split, name)
    images, marks = source.load(rest, split, options)
    images = form.check_images(images, f"{name}: images of {split}")
    marks = labels.as_numbered(
        marks, len(images), info.classes, f"{name}: labels of {split}"
    )
    loaded = Split(form.fit_all(images, options), marks)
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
    pixels = marks(name, split, options)  # first: it says where there is no such split
    return joined(source.ids(rest, split, options), pixels)


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
    return source.name_of(rest, split, row, options)
