"""Which files of a folder are the images of a set, and of which class.

As torchvision's ImageFolder has it: a class is a folder, with all that lies beneath.
"""

import os
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from PIL import Image

from sslx.data.labels import NONE, listed
from sslx.types import UserError, refuse_if

LAYOUT = (
    "a folder set is PATH/train/CLASS/*.png and PATH/test/CLASS/*.png (or .jpg), a "
    "pool PATH/*.png"
)
TESTS = ("test", "val", "valid", "validation")  # the first that goes with train
# Folders named so are splits, not classes.
_SPLITS = {"train", "training", "testing", *TESTS}
# What Pillow has a name for but reads no picture of by itself, and icons of folders.
_NO_PICTURES = {
    *("BUFR", "CUR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "IPTC", "MPEG", "WMF"),
}
# Folders that systems and tools leave behind, besides hidden ones.
_JUNK = {
    *("#recycle", "$recycle.bin", "@eadir", "@recycle", "@tmp", "__macosx"),
    *("__pycache__", "lost+found", "system volume information"),
}


class Entry(NamedTuple):
    """An image file: name beneath the set's folder, label, and what tells versions."""

    name: str
    label: int
    size: int  # -1: neither a file nor a link to one
    time: int  # of the last change, ns


class Found(NamedTuple):
    """The image files of a set; equal for equal files.

    Attributes:
        splits: (split, its files sorted by label and name) of each.
        classes: How many; 0 for images without labels.
        told: What is passed over; empty where nothing is.
    """

    splits: tuple[tuple[str, tuple[Entry, ...]], ...]
    classes: int
    told: str


Passed = list[tuple[str, str]]  # what is passed over: (kind, path)
Classes = dict[str, list[os.DirEntry]]  # folder of a class -> its images; "" for none


@cache
def suffixes() -> frozenset[str]:
    """Of the files that Pillow reads a picture of, in lower case."""
    Image.init()
    return frozenset(
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if (kind in Image.OPEN or kind == "MPO") and kind not in _NO_PICTURES
    )


def _scan(folder: str, passed: Passed) -> tuple[list[os.DirEntry], list[os.DirEntry]]:
    """The images and the folders right in a folder, by name; others are passed over."""
    images, folders = [], []
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            suffix = Path(entry.name).suffix.lower()
            if entry.name.startswith("."):
                passed.append(("hidden", entry.path))
            elif entry.is_dir():
                if entry.name.lower() in _JUNK:
                    passed.append((f"folder {entry.name}", entry.path))
                else:
                    folders.append(entry)
            elif suffix in suffixes():
                images.append(entry)
            else:
                passed.append((suffix or "without suffix", entry.path))
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be read ({error.strerror or error}); "
            "mend it or remove it"
        ) from None
    return images, folders


def _beneath(
    folder: os.DirEntry, above: frozenset, passed: Passed
) -> list[os.DirEntry]:
    """All images beneath a folder; links to a folder above are not followed."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        passed.append(("linked in a circle", folder.path))
        return []
    images, folders = _scan(folder.path, passed)
    for inner in folders:
        images += _beneath(inner, above | {here}, passed)
    return images


def _classes(
    images: list[os.DirEntry],
    folders: list[os.DirEntry],
    above: frozenset,
    passed: Passed,
) -> Classes:
    """Images by the folders they lie in; or, where those hold none, without a class."""
    found = {folder.path: _beneath(folder, above, passed) for folder in folders}
    if any(found.values()):
        passed += [("outside the class folders", image.path) for image in images]
        return {os.path.basename(path): inside for path, inside in found.items()}
    passed += [("empty of images", path) for path in found]
    return {"": images}


def find_files(path: Path) -> Found:
    """The image files of a set, in the order of the rows.

    Raises:
        UserError: No images, class folders without any, a class on test images alone,
            two folders of one name, or what cannot be read.
    """
    passed: Passed = []
    above = frozenset(
        (s.st_dev, s.st_ino) for s in map(os.stat, (path, *path.resolve().parents))
    )
    images, folders = _scan(str(path), passed)
    named = {folder.name: folder for folder in folders}
    if "train" not in named:
        _check_no_splits(path, named)
        train = _classes(images, folders, above, passed)
        _check_any(path, train, passed)
        empty = [name for name, inside in train.items() if not inside]
        passed += [("empty of images", str(path / name)) for name in empty if name]
        train = {name: inside for name, inside in train.items() if inside}
        return _found(path, {"train": train}, passed)

    def split(name: str, passed: Passed) -> Classes:
        status = named[name].stat()
        inside = above | {(status.st_dev, status.st_ino)}
        found = _classes(*_scan(named[name].path, passed), inside, passed)
        _check_any(path / name, found, passed)
        return found

    passed += [("beside train", image.path) for image in images]
    splits, read = {"train": split("train", passed)}, {"train"}
    for name in TESTS:
        if name in named and "test" not in splits:
            own: Passed = []
            found = split(name, own)
            if ("" in found) == ("" in splits["train"]):  # both have labels, or none
                splits["test"] = found
                passed += own
                read.add(name)
    passed += [(f"folder {f.name}", f.path) for f in folders if f.name not in read]
    return _found(path, splits, passed)


def _check_any(folder: Path, found: Classes, passed: Passed) -> None:
    there = f" but {_counts(passed)}" if passed else ""
    refuse_if(not any(found.values()), f"{folder} holds no image{there}; {LAYOUT}")


def _check_no_splits(path: Path, named: dict[str, os.DirEntry]) -> None:
    """Raises where the folders of a set without train are no classes either."""
    others = [name for name in named if name.lower() in _SPLITS]
    refuse_if(
        others,
        f"{path} has no folder train, but {listed(others)}; {LAYOUT}",
    )
    deeper = [f.path for f in named.values() if os.path.isdir(f"{f.path}/train")]
    refuse_if(
        deeper,
        f"{path} has no folder train, but {''.join(deeper[:1])} has: name that one; "
        f"{LAYOUT}",
    )


def _found(path: Path, splits: dict[str, Classes], passed: Passed) -> Found:
    """The files of both splits, with their labels."""
    numbers, start = _numbers(path, splits), len(os.path.join(path, ""))
    entries = {}
    for split, classes in splits.items():
        labels = {name: numbers.get(_same_form(name), NONE) for name in classes}
        labelled = [
            (labels[name], image.path[start:].split("/"), image)
            for name, inside in classes.items()
            for image in inside
        ]
        labelled.sort(key=lambda found: found[:2])
        entries[split] = tuple(
            _entry("/".join(parts), label, image) for label, parts, image in labelled
        )
    return Found(tuple(entries.items()), len(numbers), _told(path, passed))


def _entry(name: str, label: int, image: os.DirEntry) -> Entry:
    try:
        status = image.stat()
    except OSError:  # a link to nothing: reading it says so
        return Entry(name, label, 0, 0)
    size = status.st_size if S_ISREG(status.st_mode) else -1
    return Entry(name, label, size, status.st_mtime_ns)


def _same_form(name: str) -> str:
    """A name as all systems write it: an accent may be a character of its own."""
    return unicodedata.normalize("NFC", name)


def _numbers(path: Path, splits: dict[str, Classes]) -> dict[str, int]:
    """Name of a class -> its label, by the names of the training split."""
    if "" in splits["train"]:
        return {}
    for split, classes in splits.items():
        twice = Counter(map(_same_form, classes))
        alike = [ascii(name) for name in classes if twice[_same_form(name)] > 1]
        refuse_if(
            alike,
            f"{path}: {split} has {' and '.join(alike[:2])}, one name in two Unicode "
            "forms; bring their images together in one folder",
        )
    empty = [name for name, inside in splits["train"].items() if not inside]
    more = f" (nor do {len(empty) - 1} others)" if empty[1:] else ""
    refuse_if(
        empty,
        f"class folder {path / 'train' / ''.join(empty[:1])} holds no image{more}; "
        f"{LAYOUT}",
    )
    known = {_same_form(name): i for i, name in enumerate(sorted(splits["train"]))}
    tested = splits.get("test", {})
    odd = [name for name in tested if tested[name] and _same_form(name) not in known]
    count = sum(len(tested[name]) for name in odd)
    refuse_if(
        odd,
        f"{path}: {count} test images are of classes that no training image has "
        f"({listed(odd)}), so nothing can be right on them; remove those folders, add "
        f"such images to train, or, for a pool, name folder:{path / 'train'}",
    )
    return known


def _told(path: Path, passed: Passed) -> str:
    """What is passed over, counted, with the first of each kind that has a name."""
    if not passed:
        return ""
    first = os.path.relpath(passed[0][1], path)
    count = len(passed)
    return (
        f"{count} files and folders are passed over ({_counts(passed)}; first: {first})"
    )


def _counts(passed: Passed) -> str:
    """How many of each kind."""
    kinds = Counter(kind for kind, _ in passed)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
