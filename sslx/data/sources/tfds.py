"""TFDS image classification sets by name, read from array_record without TensorFlow.

A set is prepared by ``sslx prepare`` or by TFDS itself.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.features

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Source, Split
from sslx.data.sources.id_cache import remembered
from sslx.data.sources.prepared import (
    Prepared,
    first_line,
    locate,
    missing,
    open_prepared,
)
from sslx.progress import progress
from sslx.types import UserError, refuse_if

_CHUNK = 512  # records read at a time


def find(name: str, options: Options) -> Path:
    """The version folder of a set, which is prepared first where that is asked for.

    Raises:
        Missing: It is not there.
        UserError: No such set, or it cannot be prepared.
    """
    folder = locate(name, options.dir)
    if folder is not None:
        return folder
    error = missing(name, options.dir)
    if not (options.download and isinstance(error, Missing)):
        raise error
    from sslx.data.sources.prepare import prepare  # only when it is asked for

    return prepare(name, options.dir)


def _stamp(found: Prepared, split: str) -> tuple:
    """Tells this split's files from any others."""
    files = sorted(found.folder.glob(f"*-{found.splits[split]}.*"))
    return (
        str(found.folder.resolve()),
        found.splits[split],
        *((p.name, (s := p.stat()).st_size, s.st_mtime_ns) for p in files),
    )


def _records(found: Prepared, split: str) -> Iterator[dict]:
    """The examples of a split, images still encoded."""
    import tensorflow_datasets as tfds

    skip = {found.image: tfds.decode.SkipDecoding()}
    try:
        rows = found.builder.as_data_source(found.splits[split], decoders=skip)
        what = f"reading {found.name} {split}"
        with progress(len(rows), 0, what, "image") as bar:
            for start in range(0, len(rows), _CHUNK):
                chunk = range(start, min(start + _CHUNK, len(rows)))
                for example in rows.__getitems__(list(chunk)):
                    # The reader hands out empty records where bytes are damaged.
                    if not example[found.image]:
                        raise ValueError("a record is unreadable")
                    yield example
                bar.update(len(chunk))
    except Exception as error:  # of the reader, of protobuf, of the features
        raise UserError(
            f"{found.folder}: the {found.splits[split]} split is damaged "
            f"({first_line(error)}); remove that folder and prepare the set again"
        ) from None


class _Rows(NamedTuple):
    """A split in memory, in the form asked for."""

    split: Split
    pixel_ids: np.ndarray  # int64 (n,), of the images before that
    shape: form.Shape  # (h, w, c) before that; None where images differ


@lru_cache(maxsize=8)
def _read_once(folder: Path, stamp: tuple, split: str, options: Options) -> _Rows:
    found = open_prepared(folder)
    total = found.builder.info.splits[found.splits[split]].num_examples
    images: np.ndarray | None = None
    labels, ids = np.zeros(total, np.int32), np.zeros(total, np.int64)
    shapes = set()
    # TFDS lets any file stand for the channels that the feature declares.
    declared = found.builder.info.features[found.image].shape[-1]
    channels = {1: 1, 3: 3, 4: 3}.get(declared, 0)
    for i, example in enumerate(_records(found, split)):
        try:
            raw = form.decode(example[found.image], channels)
        except ValueError as error:
            raise UserError(
                f"{found.folder}: image {i} of {found.name} is not readable: {error}"
            ) from None
        ids[i] = form.pixel_id(raw)
        shapes.add(raw.shape)
        labels[i] = example[found.label] if found.label else 0
        image = form.fit(raw, options)
        if images is None:
            images = np.zeros((total, *image.shape), np.uint8)
        _same(found, images.shape[1:], image.shape)
        images[i] = image
    bare = int((labels < 0).sum())
    refuse_if(
        bare,
        f"{found.name!r} has {bare} images without a label in {split}; as "
        "folder:PATH of image files they can be a pool",
    )
    assert images is not None
    return _Rows(Split(images, labels), ids, form.common(shapes))


def _same(found: Prepared, first: tuple, second: tuple) -> None:
    refuse_if(
        first != second,
        f"{found.name!r} has images of mixed size ({first}, {second}, ...); bring "
        "them together with data.size=PIXELS",
    )


def _read(found: Prepared, split: str, options: Options) -> _Rows:
    how = Options(size=options.size, channels=options.channels)
    return _read_once(found.folder, _stamp(found, split), split, how)


def _open(name: str, options: Options) -> Prepared:
    return open_prepared(find(name, options))


def _describe(rest: str, options: Options) -> Info:
    found = _open(rest, options)
    info = found.builder.info
    sizes = {s: info.splits[name].num_examples for s, name in found.splits.items()}
    h, w, c = info.features[found.image].shape
    shape = (h, w, 3 if c == 4 else c)
    if None in form.target(shape, options):  # only the images tell
        both = [_read(found, s, options) for s in sizes]
        _same(found, *(r.split.images.shape[1:] for r in both))
        shape = form.common({r.shape for r in both})
    content = {
        "name": found.name,
        "version": found.folder.name,
        "examples": sizes,
        "ids": form.digest(*(_ids(rest, split, options) for split in sizes)),
    }
    return Info(
        identity={"tfds": content},
        slug=found.name.replace("/", "-"),
        image_shape=shape,
        classes=info.features[found.label].num_classes if found.label else 0,
        sizes=sizes,
    )


def _load(rest: str, split: str, options: Options) -> Split:
    return _read(_open(rest, options), split, options).split


@lru_cache(maxsize=16)
def _official(folder: Path, stamp: tuple, split: str) -> np.ndarray | None:
    """Each example's ``id``, or the number it ends with; None unless all differ."""
    found = open_prepared(folder)
    if "id" not in found.builder.info.features:
        return None
    numbers = []
    for example in _records(found, split):
        value = example["id"]
        if isinstance(value, bytes):
            match = re.search(rb"(\d{1,18})$", value)
            value = int(match[1]) if match else None
        if not isinstance(value, int | np.integer) or abs(int(value)) >= 2**63:
            return None
        numbers.append(int(value))
    ids = np.array(numbers, np.int64)
    return ids if len(np.unique(ids)) == len(ids) else None


def _ids(rest: str, split: str, options: Options) -> np.ndarray:
    """Ids of a split: official ones, else of its pixels as they are decoded here."""
    found = _open(rest, options)
    stamp = _stamp(found, split)

    def compute() -> np.ndarray:
        official = _official(found.folder, stamp, split)
        return _read(found, split, options).pixel_ids if official is None else official

    return remembered([*stamp, *_decoders()], compute)


def _seen(rest: str, split: str, options: Options) -> np.ndarray:
    """Of the pixels as they are decoded and brought into form here; and the labels."""
    how = Options(size=options.size, channels=options.channels)
    found = _open(rest, options)
    return _look(found.folder, _stamp(found, split), split, how)


@lru_cache(maxsize=32)  # where there is no home, nothing is remembered
def _look(folder: Path, stamp: tuple, split: str, how: Options) -> np.ndarray:
    def compute() -> np.ndarray:
        images, labels = _read_once(folder, stamp, split, how).split
        return np.stack([form.pixel_ids(images), labels.astype(np.int64)])

    form_of = {"size": how.size, "channels": how.channels, "with": "labels"}
    key = [*stamp, *_decoders(), form_of]
    found = remembered(key, compute)
    found.flags.writeable = False
    return found


def _name_of(rest: str, split: str, row: int, options: Options) -> str:
    return f"{split} {_ids(rest, split, options)[row]}"


def _decoders() -> tuple[str, ...]:
    return PIL.__version__, str(PIL.features.version("jpg"))


TFDS = Source(find, _describe, _load, _ids, _name_of, _seen)
