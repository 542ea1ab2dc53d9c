"""``npz:PATH``: a file with train_images, train_labels, test_images, test_labels."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Source, Split
from sslx.runs.files import read_arrays
from sslx.types import UserError

_NEEDS = "an npz data set holds train_images, train_labels, test_images and test_labels"


def _check(path: Path, split: str, images: np.ndarray, labels: np.ndarray) -> Split:
    """Checks one split and brings it into its form."""
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UserError(
            f"{path}: {split}_images must be uint8 of shape (n, h, w, c) or (n, h, w), "
            f"not {images.dtype} {images.shape}"
        )
    if len(images) == 0:
        raise UserError(f"{path}: {split}_images is empty")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path}: {split}_labels must be integers of shape ({len(images)},), "
            f"not {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0:
        raise UserError(f"{path}: {split}_labels must be 0 or more")
    return Split(images, labels.astype(np.int32))


def _apart(path: Path, splits: dict[str, Split]) -> None:
    """Raises a UserError if an image stands in both splits."""
    rows = {form.pixel_id(x): i for i, x in enumerate(splits["train"].images)}
    for i, image in enumerate(splits["test"].images):
        if (row := rows.get(form.pixel_id(image))) is not None:
            raise UserError(
                f"{path}: test_images[{i}] is train_images[{row}] again: a test image "
                "must not be trained on; remove one of them"
            )


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> tuple[dict[str, Split], str]:
    """Both splits and the sha256 of their arrays; ``stamp`` tells versions apart."""
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
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {_NEEDS}")
    splits = {
        split: _check(path, split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in ("train", "test")
    }
    shapes = {s.images.shape[1:] for s in splits.values()}
    if len(shapes) > 1:
        raise UserError(f"{path}: train and test images differ in shape: {shapes}")
    _apart(path, splits)
    sha = hashlib.sha256()
    for split in splits.values():
        for array in split:
            sha.update(f"{array.dtype} {array.shape};".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    return splits, sha.hexdigest()


def _find(rest: str, options: Options) -> Path:
    if not rest:
        raise UserError("write the file's path after 'npz:'")
    path = Path(rest).expanduser()
    if not path.is_file():
        raise Missing(f"no file {path}; {_NEEDS}")
    return path


def _open(rest: str, options: Options) -> tuple[dict[str, Split], str]:
    path = _find(rest, options)
    return _read(path, path.stat().st_mtime_ns)


def _describe(rest: str, options: Options) -> Info:
    splits, digest = _open(rest, options)
    train = splits["train"]
    return Info(
        identity={"npz": digest},
        slug=Path(rest).stem,
        image_shape=tuple(train.images.shape[1:]),
        classes=int(max(s.labels.max() for s in splits.values())) + 1,
        sizes={name: len(split.labels) for name, split in splits.items()},
    )


def _load(rest: str, split: str, options: Options) -> Split:
    return _open(rest, options)[0][split]


def _ids(rest: str, split: str, options: Options) -> np.ndarray:
    return np.arange(len(_open(rest, options)[0][split].labels))


NPZ = Source(_find, _describe, _load, _ids)
