"""``npz:PATH``: a file with train_images, train_labels, test_images, test_labels."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Split, Whole, read_whole
from sslx.runs.files import read_arrays
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if

_NEEDS = "an npz data set holds train_images, train_labels, test_images and test_labels"


def _check(path: Path, split: str, images: np.ndarray, labels: np.ndarray) -> Split:
    """Checks one split and brings it into its form."""
    if images.ndim == 3:
        images = images[..., None]
    refuse_if(
        images.dtype != np.uint8 or images.ndim != 4,
        f"{path}: {split}_images must be uint8 of shape (n, h, w, c) or (n, h, w), "
        f"not {images.dtype} {images.shape}",
    )
    refuse_if(len(images) == 0, f"{path}: {split}_images is empty")
    refuse_if(
        labels.dtype.kind not in "iu" or labels.shape != images.shape[:1],
        f"{path}: {split}_labels must be integers of shape ({len(images)},), "
        f"not {labels.dtype} {labels.shape}",
    )
    refuse_if(labels.min() < 0, f"{path}: {split}_labels must be 0 or more")
    return Split(images, labels.astype(np.int32))


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> Whole:
    """The set; ``stamp`` tells versions apart."""
    try:
        arrays = read_arrays(path)
    except ValueError:
        raise UserError(f"{path} is not a readable npz file; {_NEEDS}") from None
    missing = [
        f"{split}_{what}"
        for split in ("train", "test")
        for what in ("images", "labels")
        if f"{split}_{what}" not in arrays
    ]
    refuse_if(missing, f"{path} lacks {', '.join(missing)}; {_NEEDS}")
    splits = {
        split: _check(path, split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in ("train", "test")
    }
    shapes = {s.images.shape[1:] for s in splits.values()}
    refuse_if(
        len(shapes) > 1, f"{path}: train and test images differ in shape: {shapes}"
    )
    marks = {s: [*map(form.pixel_id, split.images)] for s, split in splits.items()}
    again = "{}: test_images[{}] is train_images[{}] again"
    form.apart(marks, lambda test, train: again.format(path, test, train))
    sha = hashlib.sha256()
    for split in splits.values():
        for array in split:
            sha.update(f"{array.dtype} {array.shape};".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    info = Info(
        identity={"npz": sha.hexdigest()},
        slug=path.stem,
        image_shape=tuple(splits["train"].images.shape[1:]),
        classes=int(max(s.labels.max() for s in splits.values())) + 1,
        sizes={name: len(split.labels) for name, split in splits.items()},
    )
    return Whole(info, splits, {s: np.arange(n) for s, n in info.sizes.items()})


def _find(rest: str, options: Options) -> Path:
    refuse_if(not rest, "write the file's path after 'npz:'")
    path = local_path(rest)
    if not path.is_file():
        raise Missing(f"no file {path}; {_NEEDS}")
    return path


def _open(path: Path, options: Options) -> Whole:
    return _read(path, path.stat().st_mtime_ns)


NPZ = read_whole(_find, _open)
