import hashlib

import numpy as np
import pytest

from sslx import data
from sslx.types import UserError


def pixels(n, shape=(6, 6, 3), start=0):
    random = np.random.RandomState(start)
    return random.randint(0, 256, (n, *shape)).astype(np.uint8)


TRAIN, TEST = pixels(12), pixels(6, start=1)
SET = {
    "train_images": TRAIN,
    "train_labels": np.arange(12) % 3,
    "test_images": TEST,
    "test_labels": np.arange(6) % 3,
}


@pytest.fixture
def file(tmp_path):
    """Writes arrays into a file and gives the set's name."""

    def write(**arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **{k: x for k, x in arrays.items() if x is not None})
        return f"npz:{path}"

    return write


def renamed(images, labels, **names):
    """The set with other names of its arrays: ``train=`` and ``test=`` as written."""
    out = {}
    for split, name in names.items():
        out[images.format(name)] = SET[f"{split}_images"]
        out[labels.format(name)] = SET[f"{split}_labels"]
    return out


def test_identity_of_0_1(file):
    # Catches a set that 0.1 read being another one now: its victims trained anew.
    name, sha = file(**SET), hashlib.sha256()
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        array = SET[key].astype(np.int32) if "labels" in key else SET[key]
        sha.update(f"{array.dtype} {array.shape};".encode() + array.tobytes())
    assert data.describe(name).identity == {"npz": sha.hexdigest()}
    gaps = SET | {k: SET[k] * 2 for k in ("train_labels", "test_labels")}
    assert set(data.describe(file(**gaps)).identity) == {"npz", "labels"}


@pytest.mark.parametrize(
    ("arrays", "sizes", "classes", "told"),
    [
        (SET, (12, 6), 3, ""),
        (renamed("x_{}", "y_{}", train="train", test="test"), (12, 6), 3, ""),
        (renamed("X_{}", "y_{}", train="train", test="valid"), (12, 6), 3, ""),
        (renamed("{}_images", "{}_labels", train="train", test="val"), (12, 6), 3, ""),
        (
            SET | {"val_images": pixels(3, start=5), "val_labels": np.arange(3)},
            *((12, 6), 3, "test_labels are read, not 'val_images', 'val_labels'"),
        ),
        ({**SET, "names": np.array(["a", "b", "c"])}, (12, 6), 3, "not 'names'"),
        ({k: SET[k] for k in ("train_images", "train_labels")}, (12,), 3, ""),
        ({k: SET[k] for k in ("train_images", "test_images")}, (12, 6), 0, ""),
        ({"train_images": TRAIN}, (12,), 0, ""),
        ({"Images": TRAIN}, (12,), 0, ""),
        ({"images": TRAIN, "labels": np.arange(12)}, (12,), 12, ""),
        ({"x_train": TRAIN[..., 0]}, (12,), 0, ""),
        ({"arr_0": TRAIN}, (12,), 0, ""),
        (
            {"arr_0": TRAIN[..., :1], "ids": np.arange(12)},
            (12,),
            0,
            "only arr_0 are read, not 'ids'",
        ),
    ],
)
def test_layouts(file, capsys, arrays, sizes, classes, told):
    # Catches a file of the usual names that is refused, or read in part in silence.
    name = file(**arrays)
    info = data.describe(name)
    assert info.sizes == dict(zip(("train", "test"), sizes, strict=False))
    assert info.classes == classes
    for split, n in info.sizes.items():
        images, labels = data.load(name, split)
        expected = {"train": TRAIN, "test": TEST}[split][..., : images.shape[3]]
        np.testing.assert_array_equal(images, expected)
        wanted = np.arange(n) % classes if classes else np.full(n, -1)
        np.testing.assert_array_equal(labels, wanted)
    if "test" not in info.sizes:
        with pytest.raises(UserError, match="has no test split, only train"):
            data.load(name, "test")
    err = capsys.readouterr().err
    assert told in err if told else not err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"test_labels": None}, "lacks test_labels;"),
        ({"train_labels": None}, "lacks train_labels;"),
        ({"train_images": None}, "lacks train_images;"),
        ({"test_images": None}, "lacks test_images;"),
        (
            dict.fromkeys(SET) | {"image": TRAIN},
            "lacks train_images, it holds 'image';",
        ),
        (dict.fromkeys(SET), "lacks train_images, it holds nothing"),
        (
            dict.fromkeys(SET) | {"arr_0": TRAIN, "arr_1": TEST},
            "holds 'arr_0', 'arr_1'",
        ),
        ({"train_labels": np.full(12, None)}, "train_labels holds Python objects"),
        (
            {"train_images": np.array(list(TRAIN), object)},
            "train_images holds Python obj",
        ),
        ({"train_images": np.array(5)}, "train_images is no array"),
        ({"train_labels": np.zeros(5, int)}, r"train_labels must be .*shape \(12,\)"),
        ({"test_labels": np.full(6, -1)}, "test_labels must be 0 or more"),
        ({"test_labels": np.full(6, 9)}, r"6 of 6 test images have labels .*\(9\)"),
        ({"test_images": pixels(6, (8, 8, 3))}, "differ in shape"),
        (
            {"test_images": np.concatenate([TRAIN[5:9], TEST[:2]])},
            r"4 of 6 .* \(test_images\[0\] is train_images\[5\], test_images\[1\] is "
            r"train_images\[6\], test_images\[2\] is train_images\[7\], \.\.\.\)",
        ),
    ],
)
def test_what_is_wrong_in_a_file(file, changes, expected):
    # Catches a file that is believed before it is looked at.
    name = file(**SET | changes)
    with pytest.raises(UserError, match=expected) as error:
        data.describe(name)
    assert "\n" not in str(error.value) and name[4:] in str(error.value)


def of_shape(*shape):
    return {"train_images": pixels(12, shape), "test_images": pixels(6, shape, 1)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (of_shape(3, 6, 6), r"\(3, 6, 6\); .*np.moveaxis\(images, 1, -1\)"),
        (of_shape(1, 28, 28), r"np.moveaxis\(images, 1, -1\)"),
        (of_shape(4, 6, 6), r"np.moveaxis\(images, 1, -1\)"),
        (of_shape(6, 6, 4), r"images\[\.\.\., :3\]"),
        (of_shape(6, 6, 2), r"images\[\.\.\., :1\]"),
        (of_shape(6, 6, 13), r"\(6, 6, 13\); sslx takes \(h, w, 1\) or \(h, w, 3\)"),
        (of_shape(0, 6, 3), r"\(0, 6, 3\)"),
        (of_shape(36), r"not uint8 \(12, 36\); .*reshape"),
        (of_shape(2, 6, 6, 3), r"must be uint8 of shape"),
        (of_shape(), r"must be uint8 of shape"),
        ({"train_images": TRAIN[:0]}, "train_images is empty"),
        ({"train_images": np.moveaxis(TRAIN, 0, -1)}, r"moveaxis\(images, -1, 0\)"),
        ({"train_images": TRAIN / 255}, r"\(images \* 255\.0\)\.round"),
        ({"train_images": TRAIN.astype(np.float32)}, r"images\.round\(\)"),
        ({"train_images": TRAIN / 127.5 - 1}, r"\(\(images \+ 1\) \* 127\.5\)"),
        ({"train_images": (TRAIN - 120.0) / 50}, "bring the 8-bit images"),
        ({"train_images": TRAIN > 9}, r"not bool, from 0 to 1; .*255"),
        ({"train_images": TRAIN.astype(np.uint16) * 200}, "if they are of 16 bits"),
        ({"train_images": TRAIN.astype(int) - 1}, "uint8, 0 to 255, not int64"),
        ({"train_images": np.full(TRAIN.shape, np.nan)}, "from nan to nan"),
        ({"train_images": TRAIN.astype("S3")}, r"not \|S3"),
        ({"train_images": TRAIN * 1j}, "not complex"),
        ({"train_images": TRAIN.view("V3")[..., 0]}, r"not \|V3"),
    ],
)
def test_images_that_are_none(file, changes, expected):
    # Catches shapes that break training or the report later, and a refusal without
    # the line that mends the file.
    with pytest.raises(UserError, match=expected) as error:
        data.describe(file(**SET | changes))
    assert "\n" not in str(error.value) and "set.npz: t" in str(error.value)


@pytest.mark.parametrize("dtype", ["int64", "uint16", ">i4"])
def test_whole_numbers_of_another_type(file, capsys, dtype):
    # Catches a refusal of what is meant, or another set by it, and silence.
    images = {k: SET[k].astype(dtype) for k in ("train_images", "test_images")}
    name = file(**SET | images)
    np.testing.assert_array_equal(data.load(name, "train").images, TRAIN)
    assert "all in 0..255, are read as uint8" in capsys.readouterr().err
    assert data.describe(name).identity == data.describe(file(**SET)).identity


def test_one_image_is_no_pool(file):
    # Catches a single RGB image read as 32 grey ones of three columns.
    for shape in ((32, 32, 3), (32, 32, 4)):
        with pytest.raises(UserError, match=r"one image, .*images\[None\]"):
            data.describe(file(images=np.zeros(shape, np.uint8)))


def test_renumbered_labels_are_told(file, capsys):
    # Catches big ids as millions of classes, and a numbering that nobody hears of.
    ids = np.array([2979186, 1440764, 2**40])
    big = {k: ids[SET[k]] for k in ("train_labels", "test_labels")}
    name = file(**SET | big)
    assert data.load(name, "train").labels[:4].tolist() == [1, 0, 2, 1]
    assert data.describe(name).classes == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 in all (1440764, 2979186, 1099511627776), are numbered 0, 1, 2" in line


@pytest.mark.parametrize(
    "content", [b"", b"no zip", b"PK\x03\x04 cut short", "cut", "npy"]
)
def test_damage(tmp_path, content):
    # Catches the errors of zip and of numpy passed on.
    path = tmp_path / "set.npz"
    np.savez(path, **SET)
    whole = path.read_bytes()
    if content == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    told = "a single array" if content == "npy" else "not a readable npz"
    with pytest.raises(UserError, match=told):
        data.describe(f"npz:{path}")


def test_paths(tmp_path):
    # Catches a traceback at a name that is too long, no UTF-8 or holds a line's end.
    for name in ("x" * 300, "a\nb", "\udce9"):
        with pytest.raises(
            data.Missing, match=r"^no file .*; an npz data set"
        ) as error:
            data.describe(f"npz:{tmp_path / name}")
        assert str(error.value).isprintable()
    with pytest.raises(UserError, match="write the file's path"):
        data.describe("npz:")


@pytest.mark.parametrize("wide", [(5, 3), (3, 1), (2, 4)])
def test_one_hot_columns_of_two_widths(tmp_path, wide):
    # Catches column 1 of three taken for column 1 of five: two tables of dummies leave
    # out the classes that they do not have.
    random = np.random.default_rng(0)
    arrays = {}
    for split, k in zip(("train", "test"), wide, strict=True):
        shape = (12, 6, 6, 1)
        arrays[f"{split}_images"] = random.integers(0, 256, shape, np.uint8)
        codes = np.eye(k, dtype=int)[np.arange(12) % k]
        arrays[f"{split}_labels"] = codes if k > 1 else np.arange(12) % 3
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match="columns, which cannot stand for the same"):
        data.describe(f"npz:{tmp_path / 'x.npz'}")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_binary_images(tmp_path, dtype):
    # Catches images of 0 and 1 that are taken for black ones.
    images = np.random.default_rng(0).integers(0, 2, (12, 6, 6, 1)).astype(dtype)
    np.savez(tmp_path / "x.npz", train_images=images)
    with pytest.raises(UserError, match=r"all images are 0 or 1.*images \* 255"):
        data.describe(f"npz:{tmp_path / 'x.npz'}")


def test_one_array_and_two_signs(tmp_path):
    # Catches "not readable" of a file that NumPy reads, and -1 that is a class taken
    # for no label.
    images = pixels(6, (8, 8, 3))
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(UserError, match="single array, a .npy file"):
        data.describe(f"npz:{tmp_path / 'x.npy'}")
    signs = np.array([-1, 1] * 3)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=signs)
    with pytest.raises(UserError, match=r"are -1 and 1; .* save \(labels > 0\)"):
        data.describe(f"npz:{tmp_path / 'x.npz'}")
