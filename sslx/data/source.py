"""The contract of a data source."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Split(NamedTuple):
    """One split in memory."""

    images: np.ndarray  # uint8 (n, h, w, c)
    labels: np.ndarray  # int32 (n,)


class Info(NamedTuple):
    """What a data set is.

    Attributes:
        identity: JSON-like; two sets with equal identity hold the same images. Part of
            the fingerprint of every run on them, so it names no place.
        slug: Short name for directories and tables.
        image_shape: (h, w, c).
        classes: Number of classes.
        sizes: Split -> number of images.
    """

    identity: dict[str, Any]
    slug: str
    image_shape: tuple[int, int, int]
    classes: int
    sizes: dict[str, int]


class Source(NamedTuple):
    """How sets of one kind are read; ``rest`` is what follows the colon of the name.

    Attributes:
        describe: ``(rest, data_dir) -> Info``.
        load: ``(rest, split, data_dir) -> (Split, ids)``; ids int64 (n,) are equal for
            rows that show the same original.
    """

    describe: Callable[[str, str | None], Info]
    load: Callable[[str, str, str | None], tuple[Split, np.ndarray]]
