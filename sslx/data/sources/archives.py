"""The archives that the study's sets are published in, read without TensorFlow.

A reader takes TFDS's builder, the archives by the key that the builder gives each (a
single one: ""), and a folder to unpack in. Ids and keys of the examples are those of
TFDS's own builder, images are PNG files in memory.
"""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Contents(NamedTuple):
    """What is in a set.

    Attributes:
        names: Label feature -> names of its classes, where the archive has them.
        splits: Split -> (number of examples, its examples).
    """

    names: dict[str, list[str]]
    splits: dict[str, tuple[int, Iterator[tuple[int, dict]]]]


def _png(pixels: np.ndarray) -> io.BytesIO:
    """uint8 (h, w, 3) or (h, w) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "png", compress_level=4)
    file.seek(0)
    return file


def _unpack(path: Path, scratch: Path) -> Path:
    with tarfile.open(path) as archive:
        archive.extractall(scratch, filter="data")
    return scratch


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def _rows(path: Path, width: int) -> np.ndarray:
    """A file of records of so many bytes: uint8 (n, width), read when looked at."""
    return np.memmap(path, np.uint8, "r").reshape(-1, width)


def _labelled(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    """Examples of images and their labels alone, with their rows for keys."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield i, {"image": _png(image), "label": int(label)}


def cifar(builder: Any, files: dict[str, Path], scratch: Path) -> Contents:
    """CIFAR-10 and -100: records of label bytes and 3x32x32 pixel bytes."""
    info = builder._cifar_info
    keys, folder = info.label_keys, _unpack(files[""], scratch) / info.prefix

    def examples(split: str, parts: list[np.ndarray]):
        for i, row in enumerate(row for part in parts for row in part):
            labels, pixels = row[: len(keys)], row[len(keys) :]
            yield (
                i,
                {
                    **{k: int(v) for k, v in zip(keys, labels, strict=True)},
                    "id": f"{split}_{i:05d}",
                    "image": _png(pixels.reshape(3, 32, 32).transpose(1, 2, 0)),
                },
            )

    splits = {}
    for split, members in (("train", info.train_files), ("test", info.test_files)):
        parts = [_rows(folder / m, len(keys) + 3 * 32 * 32) for m in members]
        splits[split] = (sum(map(len, parts)), examples(split, parts))
    names = {
        key: _lines(folder / file)
        for key, file in zip(keys, info.label_files, strict=True)
    }
    return Contents(names, splits)


def svhn(builder: Any, files: dict[str, Path], scratch: Path) -> Contents:
    """SVHN, cropped: MATLAB files, X (32, 32, 3, n) and y with 10 for the digit 0."""
    from scipy.io import loadmat, whosmat

    def examples(split: str, path: Path):
        content = loadmat(path, variable_names=["X", "y"])
        for i, label in enumerate(content["y"].reshape(-1) % 10):
            image = _png(content["X"][..., i])
            yield i, {"id": f"{split}_{i:06d}", "image": image, "label": int(label)}

    splits = {}
    for split, path in files.items():
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        splits[split] = (shapes["X"][-1], examples(split, path))
    return Contents({}, splits)


def stl10(builder: Any, files: dict[str, Path], scratch: Path) -> Contents:
    """STL-10: 3x96x96 bytes an image, column by column; labels from 1; none is -1."""
    folder = _unpack(files[""], scratch) / "stl10_binary"

    splits = {}
    for split, part in (("train",) * 2, ("test",) * 2, ("unlabelled", "unlabeled")):
        images = _rows(folder / f"{part}_X.bin", 3 * 96 * 96)
        labels = np.full(len(images), -1)
        if split != "unlabelled":
            labels = _rows(folder / f"{part}_y.bin", 1)[:, 0].astype(int) - 1
        pixels = images.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        splits[split] = (len(images), _labelled(pixels, labels))
    names = _lines(folder / "class_names.txt")
    return Contents({"label": names}, splits)


def idx(builder: Any, files: dict[str, Path], scratch: Path) -> Contents:
    """MNIST and Fashion-MNIST: gzipped IDX files, big-endian sizes before the bytes."""

    def array(path: Path) -> np.ndarray:
        with gzip.open(path) as file:
            content = file.read()
        if content[:3] != b"\0\0\x08":
            raise ValueError(f"{path.name} is no IDX file of bytes")
        shape = np.frombuffer(content, ">i4", content[3], 4)
        return np.frombuffer(content, np.uint8, -1, 4 + 4 * content[3]).reshape(shape)

    splits = {}
    for split in ("train", "test"):
        images, labels = (array(files[f"{split}_{w}"]) for w in ("data", "labels"))
        splits[split] = (len(images), _labelled(images, labels))
    return Contents({}, splits)


READERS: dict[str, Callable[[Any, dict[str, Path], Path], Contents]] = {
    "cifar10": cifar,
    "cifar100": cifar,
    "fashion_mnist": idx,
    "mnist": idx,
    "stl10": stl10,
    "svhn_cropped": svhn,
}
