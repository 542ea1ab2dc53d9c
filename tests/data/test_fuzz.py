"""npz files as people bring them, against a simple reading; see ``careful``."""

import math
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from careful import FUZZ, Refused, compare
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

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
READABLE = ["plain", "ids", "huge", "truth", "whole", "names", "column", "hot"]
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
    kind = draw(st.sampled_from([*LABELS, *READABLE * 3]))
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
