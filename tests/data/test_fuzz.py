"""Files and folders as people bring them, against a simple reading of the same.

Either the program reads what that reading gives, or it says one line that names the
place; never a traceback, never another result.
"""

import math
import os
import shutil
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st
from PIL import Image

from sslx import data
from sslx.types import UserError

pytestmark = pytest.mark.slow
FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class Refused(Exception):
    """What the simple reading does not take."""


def compare(name, place, expected):
    """Checks the program against ``expected()``: split -> (images, class names)."""
    try:
        wanted = expected()
    except Refused as error:
        wanted = str(error)
    try:
        info = data.describe(name)
        found = {split: data.load(name, split) for split in info.sizes}
    except UserError as error:
        line = str(error)
        assert isinstance(wanted, str), f"{line!r}, but it is fine: {wanted}"
        assert line.isprintable() and str(place) in line
        return
    assert isinstance(wanted, dict), f"{found} was read, though {wanted}"
    assert list(found) == list(wanted)
    names = sorted({label for _, labels in wanted.values() for label in labels or ()})
    assert info.classes == len(names)
    for split, (images, labels) in wanted.items():
        np.testing.assert_array_equal(found[split].images, images)
        numbers = [-1] * len(images)
        if labels is not None:
            numbers = [names.index(label) for label in labels]
        assert found[split].labels.tolist() == numbers
        assert info.sizes[split] == len(images)


# npz files

LABELS = {
    "plain": lambda i, n: i % 2,
    "ids": lambda i, n: [7, 2**33, 2**31 + 5][i % 3],
    "huge": lambda i, n: np.uint64(2**63 + i % 2),
    "truth": lambda i, n: bool(i % 2),
    "whole": lambda i, n: float(i % 3),
    "broken": lambda i, n: i / 2,
    "nan": lambda i, n: math.nan if i == n - 1 else 1.0,
    "negative": lambda i, n: i - 1,
    "names": lambda i, n: ["caf\u00e9", "ant", "cafe\u0301"][i % 3],
    "bytes": lambda i, n: [b"ant", b"\xff", b"bee"][i % 3],
    "unnamed": lambda i, n: ["", "b"][i % 2],
    "column": lambda i, n: [i % 2],
    "hot": lambda i, n: [i % 3 == k for k in range(3)],
    "hot floats": lambda i, n: [float(i % 2 == k) for k in range(2)],
    "several": lambda i, n: [i % 2, 1, 0],
    "pairs": lambda i, n: [i, i + 1],
    "objects": lambda i, n: {"class": i},
    "own": lambda i, n: i,
}
SHAPES = [(4, 4, 3)] * 20 + [(4, 4, 1), (4, 4), (1, 5, 3), (2, 3, 1), (3, 4, 4)]
SHAPES += [(4, 4, 4), (4, 4, 2), (48,), (0, 4, 3), (1, 4, 5), (2, 4, 4, 3), (4, 3)]
TYPES = [np.uint8] * 20 + [np.int64, np.uint16, np.float32, bool, np.int8]
NAMES = {
    "medmnist": ("{}_images", "{}_labels"),
    "keras": ("x_{}", "y_{}"),
    "pool": ("images", "labels"),
    "bare": ("arr_0", "arr_1"),
}


@st.composite
def files(draw):
    """The arrays of a file by their names."""
    style = draw(st.sampled_from(["medmnist"] * 4 + ["keras", "keras", "pool", "bare"]))
    images, labels = NAMES[style]
    kind = draw(st.sampled_from(["plain"] * 8 + list(LABELS)))
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(TYPES))
    seed = draw(st.integers(0, 3))
    arrays = {}
    splits = draw(
        st.sampled_from(["train test", "train", "train val", "train test val"])
    )
    for number, split in enumerate(splits.split() if "{}" in images else ["train"]):
        n = draw(st.integers(0 if seed == 3 else 1, 5))
        random = np.random.RandomState(10 * number + seed)
        pixels = random.randint(0, 200, (n, *shape)).astype(dtype)
        double = draw(st.integers(0, 12)) == 0
        if double and number and n and len(arrays[images.format("train")]):
            pixels[0] = arrays[images.format("train")][0]
        arrays[images.format(split)] = pixels
        many = n + (draw(st.integers(0, 30)) == 0)
        own = draw(st.sampled_from([kind] * 40 + list(LABELS)))
        made = [LABELS[own](i, many) for i in range(many)]
        arrays[labels.format(split)] = np.array(
            made, object if own == "objects" else None
        )
    for key in draw(st.sets(st.sampled_from(sorted(arrays)), max_size=1)):
        if draw(st.integers(0, 3)) == 0:
            del arrays[key]
    if draw(st.integers(0, 3)) == 0:
        left = ("y_", "labels", "arr_1")
        arrays = {k: x for k, x in arrays.items() if not k.startswith(left)}
        arrays = {k: x for k, x in arrays.items() if not k.endswith("_labels")}
    if draw(st.integers(0, 3)) == 0:
        arrays["meta"] = np.array([{"by": "hand"}], object)
    return arrays


def one_label(row):
    """The class of an image, from its row of labels."""
    row = np.asarray(row)
    items = row.ravel().tolist()
    if row.ndim and len(items) > 1:
        if row.ndim > 1 or any(x not in (0, 1) for x in items) or sum(items) != 1:
            raise Refused("several")
        return items.index(1)
    if len(items) != 1:
        raise Refused("none")
    (item,) = items
    if isinstance(item, bytes):
        item = item.decode(errors="backslashreplace")
    if isinstance(item, str):
        if not item:
            raise Refused("no name")
        return unicodedata.normalize("NFC", item)
    if isinstance(item, dict) or item != item or item < 0 or item != int(item):
        raise Refused("no class")
    return int(item)


def simple_images(array):
    """Each image as (h, w, c), one by one."""
    if array.dtype.kind not in "iu" or array.ndim not in (3, 4) or not len(array):
        raise Refused("no images")
    out = []
    for image in array:
        image = image[..., None] if image.ndim == 2 else image
        small = min(image.shape) < 1 or image.shape[2] not in (1, 3)
        if small or image.min() < 0 or image.max() > 255:
            raise Refused("no image")
        out.append(image.astype(np.uint8))
    return out


def simple_npz(arrays):
    """A careful person's reading of a file."""
    splits = {}
    for images, labels in (NAMES["medmnist"], NAMES["keras"]):
        there = [
            s
            for s in ("train", "test", "val")
            if images.format(s) in arrays or labels.format(s) in arrays
        ]
        if "train" in there:
            used = there[:2]
            splits = {
                ("train", "test")[i]: (images.format(s), labels.format(s))
                for i, s in enumerate(used)
            }
            break
    if not splits:
        single = [k for k in ("images", "arr_0") if k in arrays]
        if not single or (single[0] == "arr_0" and "arr_1" in arrays):
            raise Refused("no images by name")
        splits = {"train": (single[0], "labels")}
    bare = not any(labels in arrays for _, labels in splits.values())
    out = {}
    for split, (images, labels) in splits.items():
        if images not in arrays or not (bare or labels in arrays):
            raise Refused("a key is missing")
        if bare and arrays[images].ndim == 3 and arrays[images].shape[2] in (3, 4):
            raise Refused("one image")
        pictures, classes = simple_images(arrays[images]), None
        if not bare:
            if len(arrays[labels]) != len(pictures):
                raise Refused("wrong length")
            classes = [one_label(row) for row in arrays[labels]]
        out[split] = pictures, classes
    known = out["train"][1]
    if len({image.shape for pictures, _ in out.values() for image in pictures}) > 1:
        raise Refused("shapes")
    if not bare and len({type(x) for _, labels in out.values() for x in labels}) > 1:
        raise Refused("kinds")
    if "test" in out:
        if not bare and set(out["test"][1]) - set(known):
            raise Refused("classes of the test split alone")
        seen = {image.tobytes() for image in out["train"][0]}
        if any(image.tobytes() in seen for image in out["test"][0]):
            raise Refused("a double")
    return out


@FUZZ
@given(files(), st.sampled_from(["whole"] * 20 + ["cut", "empty"]))
def test_npz(arrays, damage):
    # Catches labels that merge, channels that are none, a traceback of numpy.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.npz"
        np.savez(path, **arrays)
        content = path.read_bytes()
        if damage != "whole":
            path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])

        def expected():
            if damage != "whole":
                raise Refused(damage)
            return simple_npz(arrays)

        compare(f"npz:{path}", path, expected)


# Folders

SPLITS = ["train"] * 12 + ["test"] * 4 + ["val", "extra", ".", "Train"]
CLASSES = ["a", "b"] * 4 + [".", "caf\u00e9", "cafe\u0301", "b\udce9", "a b\n", "A"]
CLASSES += ["a/deep", "a/x/y", "__MACOSX", "a/@eaDir", ".git", "train"]
FILES = [
    "1.png",
    "2.PNG",
    "3.jfif",
    "4.bmp",
    "5.gif",
    "x\udce9.png",
    "n\nl.png",
    "6.tif",
]
FILES += ["._1.png", "Thumbs.db", "notes.txt", "noext", "7.pdf", ".DS_Store", "8.ico"]
READ = (".png", ".jfif", ".bmp", ".gif", ".tif")
KINDS = ["image"] * 60 + [
    "text",
    "cut",
    "empty",
    "deep",
    "folder",
    "loop",
    "lost",
    "link",
]


@st.composite
def folders(draw):
    """What lies in a folder: path beneath it -> (what, value of its pixels)."""
    n = draw(st.integers(0, 9))
    flat = draw(st.integers(0, 4)) == 0
    shape = draw(st.sampled_from([(3, 4, 3)] * 5 + [(1, 1, 3), (3, 4), None]))
    begun = draw(st.sampled_from(["", "train/a train/b", "train/a train/b test/a"]))
    if flat:
        begun = draw(st.sampled_from(["", "train", "train test", "."]))
    out = {
        f"{folder}/0.png": ("image", 180 + 20 * i, shape or (3, 4, 3))
        for i, folder in enumerate(begun.split())
    }
    for i in range(n):
        parts = draw(st.sampled_from(SPLITS)), draw(st.sampled_from(CLASSES))
        if flat:
            parts = (draw(st.sampled_from(["train", "."])),)
        # A class folder without an image is refused: not too many of them.
        names = FILES if parts[-1] in ("a", "b") or i % 9 == 8 else FILES[:9]
        place = os.path.normpath("/".join([*parts, draw(st.sampled_from(names))]))
        kind = draw(st.sampled_from(KINDS))
        value = draw(st.sampled_from([i] * 40 + [1]))
        out[place] = kind, 20 * value + 5, shape or [(3, 4, 3), (5, 4, 3)][i % 2]
    return out


def made(root, content):
    """Writes it."""
    for place, (kind, value, shape) in content.items():
        path = root / place
        if path.exists() or path.is_symlink() or any(p.is_file() for p in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.full(shape, value, np.uint8))
        if kind == "text" or path.suffix not in (".png", ".PNG", *READ):
            path.write_text("no image")
        elif kind == "folder":
            path.mkdir()
        elif kind in ("loop", "lost"):
            path.symlink_to(path.parent if kind == "loop" else root / "nowhere")
        elif kind == "deep":
            with open(path, "wb") as file:
                Image.fromarray(np.full((3, 4), 700, np.uint16)).save(file, "png")
        else:
            target_ = root.parent / f"{value}-{kind}" if kind == "link" else path
            with open(target_, "wb") as file:
                picture.save(file, "png")
            if kind == "link":
                path.symlink_to(target_)
            elif kind != "image":
                whole = path.read_bytes()
                path.write_bytes(whole[: len(whole) // 2] if kind == "cut" else b"")


JUNK = ("__MACOSX", "@eaDir")


def inside(folder):
    """(images right in a folder, folders in it); what nobody means is left out."""
    entries = [e for e in sorted(os.listdir(folder)) if not e.startswith(".")]
    paths = [f"{folder}/{e}" for e in entries if e not in JUNK]
    images = [p for p in paths if not os.path.isdir(p) and p.lower().endswith(READ)]
    return images, [p for p in paths if os.path.isdir(p)]


def beneath(folder):
    """All images beneath a folder; the only links to folders here are circles."""
    if os.path.islink(folder):
        return []
    images, folders_ = inside(folder)
    return images + [image for f in folders_ for image in beneath(f)]


def by_class(folder):
    """Class folder -> its images, or None -> images without a class."""
    images, folders_ = inside(folder)
    found = {os.path.basename(f): beneath(f) for f in folders_}
    return found if any(found.values()) else {None: images}


def simple_folder(root):
    """A careful person's reading of a folder."""
    top = {os.path.basename(f): f for f in inside(root)[1]}
    if "train" in top:
        splits = {"train": by_class(top["train"])}
        for name in ("test", "val"):
            if name in top and "test" not in splits:
                found = by_class(top[name])
                if not any(found.values()):
                    raise Refused("an empty split")
                if (None in found) == (None in splits["train"]):
                    splits["test"] = found
        if not all(splits["train"].values()):
            raise Refused("an empty class")
    else:
        if {"test", "val", "Train"} & set(top):
            raise Refused("splits without train")
        if any(os.path.isdir(f"{f}/train") for f in top.values()):
            raise Refused("one folder too high")
        splits = {"train": {k: v for k, v in by_class(root).items() if v}}
        if not splits["train"]:
            raise Refused("nothing")
    out, contents = {}, {}
    for split, classes in splits.items():
        names = Counter(unicodedata.normalize("NFC", name or "") for name in classes)
        if max(names.values()) > 1:
            raise Refused("one name twice")
        rows = []
        for name in sorted(classes, key=lambda name: name or ""):
            for image in sorted(classes[name], key=lambda path: path.split("/")):
                label = None if name is None else unicodedata.normalize("NFC", name)
                rows.append((simple_picture(image), label))
        pictures = [picture for picture, _ in rows]
        labels = None if None in classes else [label for _, label in rows]
        out[split] = pictures, labels
        contents[split] = {(p.shape, p.tobytes()) for p in pictures}
    if len({p.shape for pictures, _ in out.values() for p in pictures}) > 1:
        raise Refused("mixed shapes")
    if "test" in out:
        if out["test"][1] is not None and set(out["test"][1]) - set(out["train"][1]):
            raise Refused("classes of the test split alone")
        if contents["train"] & contents["test"]:
            raise Refused("a double")
    return out


def simple_picture(path):
    """uint8 (h, w, c)."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except Exception:
        raise Refused(f"{path!r} is no image") from None
    if pixels.dtype != np.uint8:
        raise Refused("deep")
    return pixels[..., None] if pixels.ndim == 2 else pixels


@FUZZ
@given(folders())
def test_folder(content):
    # Catches files passed over, junk read as a class, a name that stops the reading.
    base = Path(tempfile.mkdtemp())
    try:
        root = base / "set"
        root.mkdir()
        made(root, content)
        target(float(len(content)))
        compare(f"folder:{root}", root, lambda: simple_folder(str(root)))
    finally:
        shutil.rmtree(base)
