"""The contract of a data source."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sslx.types import UserError


class Missing(UserError):
    """A set that is not at hand, as against one that is damaged or misspelt."""


class Options(NamedTuple):
    """How sets are read.

    Attributes:
        dir: Where prepared TFDS sets lie; None: TFDS_DATA_DIR, else
            ~/tensorflow_datasets.
        download: Whether a set that is missing there may be downloaded and prepared.
        size: 0: images as they are; else the shorter side is brought to so many pixels
            and the square in the middle is cut out.
        channels: 0: as they are; 1: grey; 3: RGB.
    """

    dir: str | None = None
    download: bool = False
    size: int = 0
    channels: int = 0


class Split(NamedTuple):
    """One split in memory."""

    images: np.ndarray  # uint8 (n, h, w, c)
    labels: np.ndarray  # int32 (n,), 0..classes-1; -1 in a set without labels


class Info(NamedTuple):
    """What a data set is.

    Attributes:
        identity: JSON-like; two sets with equal identity hold the same images. Part of
            the fingerprint of every run on them, so it names no place.
        slug: Short name for directories and tables.
        image_shape: (h, w, c). A source may leave h and w None where images differ and
            ``Options.size`` is set; ``sslx.data.describe`` always fills them in.
        classes: Number of classes; 0: the images have no labels.
        sizes: Split -> number of images; a set may have no "test".
    """

    identity: dict[str, Any]
    slug: str
    image_shape: tuple[Any, Any, Any]
    classes: int
    sizes: dict[str, int]


def _place(split: str, row: int) -> str:
    return f"{split}[{row}]"


class Source(NamedTuple):
    """How sets of one kind are read; ``rest`` is what follows the colon of the name.

    Attributes:
        find: ``(rest, options) -> None``; raises ``Missing`` where the set is not at
            hand, and reads nothing of one that is.
        describe: ``(rest, options) -> Info``, of the images before they are resized.
        load: ``(rest, split, options) -> Split``; a source may leave resizing to
            ``sslx.data.load``.
        ids: ``(rest, split, options) -> int64 (n,)``, equal for rows that show the
            same original.
        name_of: ``(rest, split, row, options) -> str``, what people call an image.
        seen: int64 (2, n), what ``sslx.data.marks`` and ``labels_of`` give, where that
            need not read the images; None where it does.
    """

    find: Callable[[str, Options], object]
    describe: Callable[[str, Options], Info]
    load: Callable[[str, str, Options], Split]
    ids: Callable[[str, str, Options], np.ndarray]
    name_of: Callable[[str, str, int, Options], str] = (
        lambda rest, split, row, options: _place(split, row)
    )
    seen: Callable[[str, str, Options], np.ndarray] | None = None


class Whole(NamedTuple):
    """A set that was read as a whole; all as of ``Source``, by split."""

    info: Info
    splits: dict[str, Split]
    ids: dict[str, np.ndarray]
    name_of: Callable[[str, int], str] = _place


def read_whole(
    find: Callable[[str, Options], Any], read: Callable[[Any, Options], Whole]
) -> Source:
    """The source of sets that are read as a whole.

    Args:
        find: As of ``Source``.
        read: Reads what ``find`` gives, and remembers the last ones.
    """
    return Source(
        find,
        lambda rest, options: read(find(rest, options), options).info,
        lambda rest, split, options: read(find(rest, options), options).splits[split],
        lambda rest, split, options: read(find(rest, options), options).ids[split],
        lambda rest, split, row, options: read(find(rest, options), options).name_of(
            split, row
        ),
    )
