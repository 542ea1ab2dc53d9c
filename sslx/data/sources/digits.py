"""The built-in set: real handwritten digits, each at random places of a larger canvas.

The 1,797 digits of 8x8 pixels ship inside scikit-learn (UCI ML, Alpaydin and Kaynak
1998). Centred they are too easy: raw pixels reach 97 %. At a random place, a linear
probe on pixels fails and invariance to translation has to be learnt.
"""

from functools import lru_cache

import numpy as np

from sslx.data.source import Info, Options, Split, Whole, read_whole
from sslx.types import refuse_if

CANVAS = 12
PLACEMENTS = 3  # of each digit, all in the same split
TRAIN_DIGITS = 1350  # the other 447 are the test split


@lru_cache(maxsize=1)
def _read() -> Whole:
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
    order = random.permutation(len(small))
    ids, splits = {}, {}
    for split, chosen in (
        ("train", order[:TRAIN_DIGITS]),
        ("test", order[TRAIN_DIGITS:]),
    ):
        ids[split] = np.repeat(chosen, PLACEMENTS).astype(np.int64)
        labels = digits.target[ids[split]].astype(np.int32)
        splits[split] = Split(images[chosen].reshape(-1, CANVAS, CANVAS, 1), labels)
    info = Info(
        identity={"digits": {"canvas": CANVAS, "placements": PLACEMENTS, "version": 1}},
        slug="digits",
        image_shape=(CANVAS, CANVAS, 1),
        classes=10,
        sizes={split: len(rows) for split, rows in ids.items()},
    )
    return Whole(info, splits, ids)


def _find(rest: str, options: Options) -> None:
    refuse_if(rest, f"the data set is called 'digits', not 'digits:{rest}'")


def _open(found: None, options: Options) -> Whole:
    return _read()


DIGITS = read_whole(_find, _open)
