"""The built-in set: real handwritten digits, each at random places of a larger canvas.

The 1,797 digits of 8x8 pixels ship inside scikit-learn (UCI ML, Alpaydin and Kaynak
1998). Centred they are too easy: raw pixels reach 97 %. At a random place, a linear
probe on pixels fails and invariance to translation has to be learnt.
"""

from functools import lru_cache

import numpy as np

from sslx.data.source import Info, Options, Source, Split
from sslx.types import UserError

CANVAS = 12
PLACEMENTS = 3  # of each digit, all in the same split
TRAIN_DIGITS = 1350  # the other 447 are the test split


@lru_cache(maxsize=1)
def _build() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (1797, 3, 12, 12, 1), labels (1797,), order of the digits (1797,)."""
    from sklearn.datasets import load_digits  # a second, so only when wanted

    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype(np.uint8)  # 0..16 in the source
    # RandomState: its stream is promised never to change.
    random = np.random.RandomState(0)
    # Different places for the placements of a digit, so that no image stands twice.
    free = CANVAS - small.shape[1] + 1
    places = random.rand(len(small), free**2).argsort(axis=1)[:, :PLACEMENTS]
    corners = np.stack(np.divmod(places, free), axis=-1)  # (n, placements, 2)
    images = np.zeros((len(small), PLACEMENTS, CANVAS, CANVAS, 1), np.uint8)
    for digit, digit_corners, image in zip(small, corners, images, strict=True):
        for (top, left), canvas in zip(digit_corners, image, strict=True):
            canvas[top : top + 8, left : left + 8, 0] = digit
    return images, digits.target.astype(np.int32), random.permutation(len(small))


def _only_name(rest: str) -> None:
    if rest:
        raise UserError(f"the data set is called 'digits', not 'digits:{rest}'")


def _find(rest: str, options: Options) -> None:
    _only_name(rest)


def _describe(rest: str, options: Options) -> Info:
    _only_name(rest)
    return Info(
        identity={"digits": {"canvas": CANVAS, "placements": PLACEMENTS, "version": 1}},
        slug="digits",
        image_shape=(CANVAS, CANVAS, 1),
        classes=10,
        sizes={
            "train": TRAIN_DIGITS * PLACEMENTS,
            "test": (1797 - TRAIN_DIGITS) * PLACEMENTS,
        },
    )


def _digits(split: str) -> np.ndarray:
    order = _build()[2]
    return order[:TRAIN_DIGITS] if split == "train" else order[TRAIN_DIGITS:]


def _load(rest: str, split: str, options: Options) -> Split:
    _only_name(rest)
    images, labels, _ = _build()
    digits = _digits(split)
    rows = images[digits].reshape(-1, CANVAS, CANVAS, 1)
    return Split(rows, np.repeat(labels[digits], PLACEMENTS))


def _ids(rest: str, split: str, options: Options) -> np.ndarray:
    _only_name(rest)
    return np.repeat(_digits(split), PLACEMENTS).astype(np.int64)


DIGITS = Source(_find, _describe, _load, _ids)
