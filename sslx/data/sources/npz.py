"""``npz:PATH``: a file of arrays, by the names that MedMNIST and Keras use."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslx.data import form, labels
from sslx.data.source import Info, Missing, Options, Split, Whole, read_whole
from sslx.data.sources.layout import TESTS
from sslx.progress import say_once
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if

_NEEDS = (
    "an npz data set holds train_images, train_labels, test_images and test_labels (or "
    "x_train, y_train, x_test, y_test), a pool images alone"
)
# What the arrays of a split are called, in any case.
_NAMES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
_ALONE = (("images", "labels"), ("arr_0", None))

Keys = dict[str, tuple[str, str | None]]  # split -> names of its images and labels


def _choose(path: Path, names: Iterable[str]) -> Keys:
    """Which arrays of a file are what."""
    names = list(names)
    known = {name.lower(): name for name in names} | {name: name for name in names}

    def given(pattern: str, split: str) -> bool:
        return pattern.format(split) in known

    keys: dict[str, tuple[str, str | None]] = {}
    style = next(
        (n for n in _NAMES if given(n[0], "train") or given(n[1], "train")), None
    )
    if style:
        keys["train"] = style[0].format("train"), style[1].format("train")
        for name in TESTS:
            if given(style[0], name) or given(style[1], name):
                keys["test"] = style[0].format(name), style[1].format(name)
                break
    else:
        alone = next((n for n in _ALONE if n[0] in known), None)
        numbered = [name for name in names if name.startswith("arr_")]
        if alone is None or (alone[0] == "arr_0" and len(numbered) > 1):
            holds = labels.listed(names) or "nothing"
            raise UserError(f"{path} lacks train_images, it holds {holds}; {_NEEDS}")
        keys["train"] = alone
    if not any(label in known for _, label in keys.values()):
        keys = {split: (images, None) for split, (images, _) in keys.items()}
    wanted = [name for pair in keys.values() for name in pair if name]
    missing = [name for name in wanted if name not in known]
    refuse_if(missing, f"{path} lacks {', '.join(missing)}; {_NEEDS}")
    return {s: (known[i], known[k] if k else None) for s, (i, k) in keys.items()}


def _arrays(path: Path) -> tuple[Keys, dict[str, np.ndarray]]:
    """The arrays that make up the set; the others stay unread, which is told."""
    name = ""
    with suppress(OSError), open(path, "rb") as head:
        refuse_if(
            head.read(6) == b"\x93NUMPY",
            f"{path} is a single array, a .npy file; {_NEEDS}: np.savez(FILE, "
            "train_images=...)",
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = _choose(path, file.files)
            wanted = [name for pair in keys.values() for name in pair if name]
            others = sorted(set(file.files) - set(wanted))
            arrays = {}
            for name in wanted:
                arrays[name] = file[name]
                refuse_if(
                    not isinstance(arrays[name], np.ndarray) or not arrays[name].ndim,
                    f"{path} is not a readable npz file: {name} is no array; {_NEEDS}",
                )
    except UserError:
        raise
    except OSError as error:
        why = f" ({error.strerror})" if error.strerror else ""
        raise UserError(f"{path} is not a readable npz file{why}; {_NEEDS}") from None
    except Exception as error:  # damage and pickled objects raise nearly anything
        why = ""
        if name and "allow_pickle" in str(error):
            why = (
                f": {name} holds Python objects, which are not read; save plain arrays"
            )
        raise UserError(f"{path} is not a readable npz file{why}; {_NEEDS}") from None
    if others:
        read = ", ".join(wanted)
        say_once(f"{path}: only {read} are read, not {labels.listed(others, 8)}")
    return keys, arrays


@lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple[int, int]) -> Whole:
    """The set; ``stamp`` tells versions apart."""
    keys, arrays = _arrays(path)
    images, columns, what = {}, {}, {}
    for split, (name, label) in keys.items():
        found = arrays.pop(name)
        refuse_if(
            label is None and found.ndim == 3 and found.shape[2] in (3, 4),
            f"{path}: {name} {found.shape} is one image, or grey ones of so few "
            "columns; save images[None] or images[..., None]",
        )
        images[split] = form.check_images(found, f"{path}: {name}")
        if label:
            what[split] = f"{path}: {label}"
            columns[split] = labels.flat(arrays[label], len(found), what[split])
    refuse_if(
        max(int(array.max()) for array in images.values()) == 1,
        f"{path}: all images are 0 or 1, which is black; if 1 is white, save "
        "images * 255",
    )
    shapes = {array.shape[1:] for array in images.values()}
    refuse_if(
        len(shapes) > 1,
        f"{path}: train and test images differ in shape ("
        f"{' and '.join(map(str, sorted(shapes)))}); save both in one, or bring them "
        "as folder:PATH of image files with data.size=PIXELS",
    )
    if columns:
        labels.check_widths({s: arrays[keys[s][1] or ""] for s in columns}, what)
        numbered = labels.number(columns, what)
    else:
        none = {s: np.full(len(x), labels.NONE, np.int32) for s, x in images.items()}
        numbered = labels.Numbered(none, 0, [])
    if "test" in images:
        marks = {split: [*map(form.pixel_id, x)] for split, x in images.items()}
        again = f"{keys['test'][0]}[{{}}] is {keys['train'][0]}[{{}}]"
        form.apart(marks, path, again.format)
    if numbered.names:
        say_once(labels.told(str(path), numbered.names))
    splits = {s: Split(x, numbered.splits[s]) for s, x in images.items()}
    sha = hashlib.sha256()
    for both in splits.values():
        for array in both:
            sha.update(f"{array.dtype} {array.shape};".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    info = Info(
        identity={"npz": sha.hexdigest()} | numbered.identity,
        slug=path.stem,
        image_shape=tuple(splits["train"].images.shape[1:]),
        classes=numbered.classes,
        sizes={name: len(split.labels) for name, split in splits.items()},
    )
    ids = {s: np.arange(n) for s, n in info.sizes.items()}
    return Whole(info, splits, ids, lambda split, row: f"{keys[split][0]}[{row}]")


def _find(rest: str, options: Options) -> Path:
    refuse_if(not rest, "write the file's path after 'npz:'")
    path = local_path(rest)
    if not os.path.isfile(path):
        raise Missing(f"no file {path}; {_NEEDS}")
    return path


def _open(path: Path, options: Options) -> Whole:
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size))


NPZ = read_whole(_find, _open)
