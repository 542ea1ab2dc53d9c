"""Image classification sets as arrays: uint8 NHWC images and integer labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from sslx.data import form
from sslx.data import labels as numbering
from sslx.data.source import Info, Missing, Options, Source, Split
from sslx.data.sources.digits import DIGITS
from sslx.data.sources.folder import FOLDER
from sslx.data.sources.npz import NPZ
from sslx.data.sources.tfds import TFDS
from sslx.data.splits import joined
from sslx.registry import NoModule, code_of, pick
from sslx.runs.names import fingerprint
from sslx.types import printable, refuse_if

__all__ = [
    "Info",
    "Missing",
    "Options",
    "SOURCES",
    "Split",
    "check_has",
    "check_labelled",
    "copies",
    "describe",
    "find",
    "ids",
    "labels_of",
    "load",
    "marks",
    "name_of",
    "unchanged",
]

# What stands before the colon of a name ("npz:/some/file.npz"), or the whole name. Any
# other name is MODULE:NAME of a source of one's own, or that of a TFDS set.
SOURCES: dict[str, Source] = {"digits": DIGITS, "folder": FOLDER, "npz": NPZ}

SPLITS = ("train", "test")
AS_THEY_ARE = Options()
_KNOWN: ContextVar[dict | None] = ContextVar(
    "sets that are looked at once", default=None
)


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


@contextmanager
def unchanged() -> Iterator[None]:
    """Sets are taken not to change meanwhile, so each is looked at once.

    A folder of 100,000 files takes seconds to look at, and a study asks for the same
    sets hundreds of times.
    """
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def _once(function: Callable) -> Callable:
    """What a function gave before, while sets are ``unchanged``."""

    @wraps(function)
    def wrapped(*args: Any) -> Any:
        known = _KNOWN.get()
        if known is None:
            return function(*args)
        key = (function.__name__, *args)
        if key not in known:
            known[key] = function(*args)
        return known[key]

    return wrapped


@_once
def _as_read(name: str, options: Options) -> Info:
    source, rest, _ = _source(name)
    return source.describe(rest, options)


@_once
def _own_ids(name: str, split: str, options: Options) -> np.ndarray:
    source, rest, _ = _source(name)
    return source.ids(rest, split, options)


def describe(name: str, options: Options = AS_THEY_ARE) -> Info:
    """What a data set is, without holding its images; see ``Info``.

    Raises:
        Missing: The set is not at hand (a UserError).
        UserError: Unknown name, or the set cannot be read.
    """
    _, _, code = _source(name)
    read = _as_read(name, options)
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
    return info._replace(identity=info.identity | code)


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
    info = _as_read(name, options)
    check_has(info, split, name)
    images, classes = source.load(rest, split, options)
    images = form.check_images(images, f"{name}: images of {split}")
    classes = numbering.as_numbered(
        classes, len(images), info.classes, f"{name}: labels of {split}"
    )
    loaded = Split(form.fit_all(images, options), classes)
    for array in loaded:
        array.flags.writeable = False  # sources may hand the same array out again
    return loaded


@_once
def ids(name: str, split: str, options: Options = AS_THEY_ARE) -> np.ndarray:
    """Which original each row of ``load`` shows, int64 (n,).

    Rows that share an id (placements of one digit, copies of one image) belong on the
    same side of any further split.
    """
    pixels = marks(name, split, options)  # first: it says where there is no such split
    return joined(_own_ids(name, split, options), pixels)


def copies(name: str, options: Options, *splits: str) -> dict[str, str]:
    """Part of the recipe of what divides splits; nothing where no copies are in them.

    Where rows of different ids show the same pixels, these decide who sees what.
    """
    both = [(ids(name, s, options), _own_ids(name, s, options)) for s in splits]
    if all(np.array_equal(*pair) for pair in both):
        return {}
    return {"copies": form.digest(*(alike for alike, _ in both))}


def marks(name: str, split: str, options: Options = AS_THEY_ARE) -> np.ndarray:
    """What tells the images of ``load`` apart by their pixels, in all sets alike.

    Returns:
        int64 (n,), read-only; equal where shape and pixels are.
    """
    return _seen(name, split, options)[0]


def labels_of(name: str, split: str, options: Options = AS_THEY_ARE) -> np.ndarray:
    """The labels of ``load`` as int64 (n,), read-only, without its images."""
    return _seen(name, split, options)[1]


@_once
def _seen(name: str, split: str, options: Options) -> np.ndarray:
    """Marks and labels, int64 (2, n)."""
    _check_split(split)
    source, rest, _ = _source(name)
    info = _as_read(name, options)
    check_has(info, split, name)
    if source.seen:
        return source.seen(rest, split, options)
    return _look(fingerprint(info.identity), name, split, options)


@lru_cache(maxsize=64)
def _look(content: str, name: str, split: str, options: Options) -> np.ndarray:
    """The same, read; ``content`` tells versions of the set apart."""
    loaded = load(name, split, options)
    found = np.stack([form.pixel_ids(loaded.images), loaded.labels.astype(np.int64)])
    found.flags.writeable = False
    return found


def name_of(name: str, split: str, row: int, options: Options = AS_THEY_ARE) -> str:
    """What people call an image of a set: its file, or its place in the split."""
    source, rest, _ = _source(name)
    return printable(source.name_of(rest, split, row, options))
