"""Folders as people bring them, against a simple reading; see ``careful``."""

import os
import shutil
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from careful import FUZZ, Refused, compare
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytestmark = pytest.mark.slow

SPLITS = ["train"] * 12 + ["test"] * 4 + ["val", "extra", ".", "Train"]
CLASSES = ["a", "b"] * 4 + [".", "caf\u00e9", "cafe\u0301", "b\udce9", "a b\n", "A"]
CLASSES += ["a/deep", "a/x/y", *(["a/0"] * 3), "__MACOSX", "a/@eaDir", ".git", "train"]
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
            aim = root.parent / f"{value}-{kind}" if kind == "link" else path
            with open(aim, "wb") as file:
                picture.save(file, "png")
            if kind == "link":
                path.symlink_to(aim)
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
        compare(f"folder:{root}", root, lambda: simple_folder(str(root)))
    finally:
        shutil.rmtree(base)
