import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import form
from sslx.data.sources.layout import suffixes
from sslx.types import UserError

CLASSES = ("ant", "bee")


def save(path, value, shape=(6, 6, 3), dtype="uint8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, dtype)
    grey = shape[2] == 1 or dtype != "uint8"
    Image.fromarray(pixels[..., 0] if grey else pixels).save(path)


def write(path, value):
    """As PNG, whatever the suffix says."""
    image = Image.fromarray(np.full((6, 6, 3), value, np.uint8))
    with open(path, "wb") as file:
        image.save(file, "png")


@pytest.fixture
def root(tmp_path):
    """Three images a class to train on and two to test on."""
    folder = tmp_path / "set"
    for s, (split, count) in enumerate((("train", 3), ("test", 2))):
        for c, name in enumerate(CLASSES):
            for i in range(count):
                save(folder / split / name / f"{i}.png", 100 * s + 10 * c + i)
    return folder


def name(folder):
    return f"folder:{folder}"


def test_images_labels_ids(root):
    # Catches labels by the order of the disk, ids that differ for equal images.
    (root / "train" / "bee" / "notes.txt").write_text("no image")
    shutil.copy(root / "train/ant/0.png", root / "train/bee/3.PNG")
    info = data.describe(name(root))
    assert (info.image_shape, info.classes) == ((6, 6, 3), 2)
    assert info.sizes == {"train": 7, "test": 4} and info.slug == "set"
    images, labels = data.load(name(root), "train")
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12, 0]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    ids = data.ids(name(root), "train")
    assert ids[0] == ids[6] and len(set(ids)) == 6
    assert data.load(name(root), "test").labels.tolist() == [0, 0, 1, 1]


def test_identity_is_the_content(root, tmp_path):
    # Catches the place in the fingerprint, and an edited image that is not noticed.
    moved = shutil.copytree(root, tmp_path / "moved")
    before = data.describe(name(root)).identity
    assert data.describe(name(moved)).identity == before
    save(moved / "test" / "ant" / "0.png", 7)
    assert data.describe(name(moved)).identity != before
    shutil.copy(root / "test/ant/0.png", moved / "test/ant/0.png")
    assert data.describe(name(moved)).identity == before
    (moved / "test/ant/0.png").rename(moved / "test/ant/00.png")
    assert data.describe(name(moved)).identity != before


def test_mixed_images(root):
    # Catches images stretched or refused without a word on what to do.
    save(root / "train" / "bee" / "9.png", 5, (8, 10, 3))
    with pytest.raises(UserError, match=r"mixed size.*9\.png.*data\.size"):
        data.describe(name(root))
    options = data.Options(size=4)
    info = data.describe(name(root), options)
    assert info.image_shape == (4, 4, 3) and info.identity["form"] == {"size": 4}
    assert data.load(name(root), "train", options).images.shape == (7, 4, 4, 3)
    save(root / "train" / "bee" / "9.png", 5, (6, 6, 1))
    with pytest.raises(UserError, match=r"mixed channels.*9\.png.*data\.channels=3"):
        data.describe(name(root))
    ids = data.ids(name(root), "train", data.Options(channels=3))
    assert data.load(name(root), "train", data.Options(channels=3)).images.shape[3] == 3
    # A form changes no id: who sees which image does not depend on the size read.
    both = data.Options(size=3, channels=3)
    np.testing.assert_array_equal(ids, data.ids(name(root), "train", both))


@pytest.mark.parametrize("size", [0, 3])
def test_image_in_both_splits(root, size):
    # Catches an image trained on, or sold, and then counted.
    image = Image.open(root / "train/ant/1.png")
    image.save(root / "test/bee/copy.bmp")  # the same pixels in another file
    with pytest.raises(UserError, match=r"bee/copy\.bmp shows .*ant/1\.png") as error:
        data.describe(name(root), data.Options(size=size))
    assert "\n" not in str(error.value)


def test_what_is_no_file(root, monkeypatch):
    # Catches a traceback at a folder with an image's name, a broken link, a bad disk.
    (root / "train/ant/x.png").mkdir()
    before = data.describe(name(root)).sizes
    assert before == {"train": 6, "test": 4}
    link = root / "test" / "bee" / "y.png"
    link.symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"y\.png cannot be read \(No such file.*mend"):
        data.describe(name(root))
    link.unlink()
    save(link, 77)

    def fail(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    with pytest.raises(UserError, match=r"cannot be read \(Input/output error\)"):
        data.describe(name(root))


def test_other_pixels_are_another_set(root, tmp_path, monkeypatch):
    # Catches a victim shared by machines whose decoders give other pixels.
    moved = shutil.copytree(root, tmp_path / "moved")
    before = data.describe(name(root)).identity
    decode = form.decode
    monkeypatch.setattr(form, "decode", lambda *a: decode(*a) ^ 1)
    assert data.describe(name(moved)).identity != before


def truncate(path):
    path.write_bytes(path.read_bytes()[:40])


def clear(folder):
    for path in folder.iterdir():
        if path.name != "inner":
            shutil.rmtree(path)


def spoil_many(root):
    for split in ("train", "test"):
        for path in (root / split / "bee").iterdir():
            truncate(path)


@pytest.mark.parametrize(
    "spoil,expected",
    [
        (lambda r: truncate(r / "test/bee/1.png"), r"bee/1\.png is not a readable"),
        (spoil_many, r"train/bee/0\.png is not .* \(5 of 10 are like that\); mend"),
        (lambda r: (r / "train/ant/0.png").write_text(""), r"ant/0\.png is not a read"),
        (
            lambda r: save(r / "train/ant/0.tif", 1, (6, 6, 3), "uint16"),
            r"0\.tif is not .*more than 8 bits",
        ),
        (lambda r: shutil.rmtree(r / "train"), "no folder train, but 'test'; a fold"),
        (lambda r: (r / "train").rename(r / "Train"), "no folder train, but 'Train'"),
        (lambda r: (r / "train").rename(r / "training"), "no folder train, but"),
        (
            lambda r: shutil.copytree(r, r / "inner") and clear(r),
            "no folder train, but .*/inner has: name that one",
        ),
        (
            lambda r: shutil.rmtree(r / "train/ant"),
            r"2 test images are of classes that no training image has \('ant'\)",
        ),
        (
            lambda r: (r / "test/ant").rename(r / "test/Ant"),
            r"2 test images are of .* \('Ant'\)",
        ),
        (
            lambda r: [p.unlink() for p in (r / "train/bee").iterdir()],
            "train/bee holds no image;",
        ),
        (lambda r: clear(r / "test"), "test holds no image;"),
        (clear, "set holds no image;"),
        (
            lambda r: [p.rename(p.with_suffix(".dcm")) for p in r.rglob("*.png")],
            "train holds no image but 6 .dcm, 2 empty of images;",
        ),
        (shutil.rmtree, "no folder .*set; a folder set is PATH/train/CLASS"),
        (lambda r: os.mkfifo(r / "test/ant/pipe.png"), r"pipe\.png is no file; mend"),
        (
            lambda r: (r / "test/ant/x.png").symlink_to("x.png"),
            r"x\.png cannot be read",
        ),
        (lambda r: save(r / "test/ant/a\nb.png", 3, (9, 9, 3)), r"a\\nb\.png is \(9"),
    ],
)
def test_spoilt_folders(root, spoil, expected):
    # Catches a traceback, or a set that is read without what is broken in it.
    spoil(root)
    with pytest.raises(UserError, match=expected) as error:
        data.describe(name(root))
    assert str(error.value).isprintable() and str(root) in str(error.value)


def test_fewer_classes_to_test_on(root):
    # Catches a refusal of a split that just lacks a class.
    shutil.rmtree(root / "test/ant")
    assert data.load(name(root), "test").labels.tolist() == [1, 1]
    assert data.describe(name(root)).classes == 2
    shutil.rmtree(root / "train/ant")  # one class: a pool, and to train an encoder on
    assert data.describe(name(root)).classes == 1


@pytest.mark.parametrize(
    ("places", "train", "test", "classes", "told"),
    [
        # A pool: no labels, or no test split.
        (["1.png", "2.jpeg"], [-1, -1], None, 0, ""),
        (["train/2.png", "train/1.png"], [-1, -1], None, 0, ""),
        (["train/1.png", "val/3.png"], [-1], [-1], 0, ""),
        (["train/b/1.png", "train/a/2.png"], [0, 1], None, 2, ""),
        (["b/1.png", "a/2.png", "a/0.png"], [0, 0, 1], None, 2, ""),
        (
            ["a/1.png", "9.png", "docs/x.md"],
            [0],
            None,
            1,
            "1 outside the class folders",
        ),
        # Other names of the test split, and folders that are none.
        (["train/a/1.png", "val/a/2.png"], [0], [0], 1, ""),
        (["train/a/1.png", "valid/a/2.png"], [0], [0], 1, ""),
        (["train/a/1.png", "validation/a/2.png"], [0], [0], 1, ""),
        (
            ["train/a/1.png", "test/a/2.png", "val/a/3.png"],
            [0],
            [0],
            1,
            "1 folder val;",
        ),
        (["train/a/1.png", "val/a/2.png", "test/3.png"], [0], [0], 1, "1 folder test;"),
        (["train/a/1.png", "test/3.png"], [0], None, 1, "1 folder test;"),
        (["train/a/1.png", "extra/a/3.png", "x.png"], [0], None, 1, "1 folder extra"),
        # As ImageFolder: all that lies beneath, whatever its suffix.
        (["train/a/x/1.png", "train/b/y/z/1.png"], [0, 1], None, 2, ""),
        (["train/a/1.JFIF", "train/a/2.jpe", "train/a/3.jp2"], [0, 0, 0], None, 1, ""),
        (["train/a/1.TGA", "train/a/2.pnm", "train/a/3.avif"], [0, 0, 0], None, 1, ""),
        (["train/a/1.png", "train/3.png"], [0], None, 1, "1 outside the class folders"),
        (
            ["train/a/1.png", "train/a/b.txt"],
            [0],
            None,
            1,
            "(1 .txt; first: train/a/b.txt",
        ),
        (["train/a/1.png", "train/a/b"], [0], None, 1, "1 without suffix"),
        (["train/a/1.png", "train/a/x.pdf", "train/a/y.PDF"], [0], None, 1, "2 .pdf"),
        (["train/a/1.png", "train/a/Thumbs.db"], [0], None, 1, "1 .db"),
        (["train/a/1.png", "train/a/folder.ico"], [0], None, 1, "1 .ico"),
        (["train/a/1.png", "train/a/._1.png", ".git/x"], [0], None, 1, "2 hidden"),
        (
            ["train/a/1.png", "train/__MACOSX/a/1.png", "train/a/@eaDir/1.png/T.jpg"],
            *([0], None, 1, "1 folder __MACOSX, 1 folder @eaDir"),
        ),
        (
            ["train/a/1.png", "train/$RECYCLE.BIN/1.png"],
            [0],
            None,
            1,
            "folder $RECYCLE",
        ),
        (
            ["train/a/1.png", "train/lost+found/2.png"],
            [0],
            None,
            1,
            "folder lost+found",
        ),
        (["train/a/1.png", "train/.ipynb_checkpoints/1.png"], [0], None, 1, "1 hidden"),
        # One class, whatever the system that wrote its name.
        (["train/caf\u00e9/1.png", "test/cafe\u0301/2.png"], [0], [0], 1, ""),
        (["train/b\udce9/1.png", "train/a/\udce9.png"], [0, 1], None, 2, ""),
        (["train/a/\udce9.png", "train/a/\udce9.txt"], [0], None, 1, r"a/\udce9.txt"),
    ],
)
def test_layouts(tmp_path, capsys, places, train, test, classes, told):
    # Catches a layout that is refused, images that are passed over in silence, what a
    # system left behind taken for a class, and a name that no decoder takes.
    for i, place in enumerate(places):
        path = tmp_path / "set" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in suffixes():
            write(path, i)
        else:
            path.write_text("")
    info = data.describe(name(tmp_path / "set"))
    assert info.classes == classes
    expected = {"train": train} | ({"test": test} if test else {})
    for split, labels in expected.items():
        assert data.load(name(tmp_path / "set"), split).labels.tolist() == labels
    assert info.sizes == {split: len(labels) for split, labels in expected.items()}
    err = capsys.readouterr().err
    assert told in err if told else not err
    assert err.count("\n") == bool(told)


def test_order_of_what_lies_deeper(root):
    # Catches rows in the order of the walk, files before folders.
    save(root / "train/ant/0/z.png", 50)
    save(root / "train/ant/b/a.png", 51)
    save(root / "train/ant/z.png", 52)
    images = data.load(name(root), "train").images
    assert images[:6, 0, 0, 0].tolist() == [50, 0, 1, 2, 51, 52]


def test_a_name_in_two_forms(tmp_path):
    # Catches two folders that look alike and are two classes.
    for form_ in ("e\u0301", "\u00e9"):
        save(tmp_path / "train" / form_ / "1.png", 1)
    with pytest.raises(UserError, match=r"'e\\u0301' and '\\xe9', one name in two Uni"):
        data.describe(name(tmp_path))


def test_order_of_0_1(root):
    # Catches another numbering, or another order of rows, of a set that 0.1 read: it
    # sorted names as they are written, and so another fingerprint of its victims.
    for old in ("e\u0301", "f", "\u00e9x"):
        save(root / "train" / old / "B.png", ord(old[0]) - 50)
        save(root / "test" / old / "a.png", ord(old[0]) - 40)
    save(root / "train/ant/A.png", 90)
    classes = sorted([*CLASSES, "e\u0301", "f", "\u00e9x"])
    sha, pixels = hashlib.sha256(), {}
    for split in ("train", "test"):
        files = [p for c in classes for p in sorted((root / split / c).iterdir())]
        pixels[split] = [np.asarray(Image.open(p)) for p in files]
        for p in files:
            content = p.read_bytes()
            sha.update(f"{p.relative_to(root).as_posix()}\0".encode())
            sha.update(f"{len(content)}\0".encode() + content)
        np.testing.assert_array_equal(
            data.load(name(root), split).images, pixels[split]
        )
    ids = [np.array([*map(form.pixel_id, x)]) for x in pixels.values()]
    expected = {"folder": sha.hexdigest(), "ids": form.digest(*ids)}
    assert data.describe(name(root)).identity == expected


def test_files_of_several_pictures(root, capsys):
    # Catches the pages of a scan, or a film, read as one picture in silence.
    for number, suffix in enumerate(("tif", "gif", "webp")):
        frames = [
            Image.fromarray(np.full((6, 6, 3), 40 * number + 80 * i + 3, np.uint8))
            for i in range(3)
        ]
        file = root / f"train/ant/s.{suffix}"
        frames[0].save(file, save_all=True, append_images=frames[1:])
    assert data.describe(name(root)).sizes["train"] == 9
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "of 3 files that hold several pictures the first is read (train/ant/s.gif)"
    )


def test_links(root, capsys):
    # Catches a walk in circles, or through the whole disk, and a link that is not read.
    (root / "train/ant/up").symlink_to(root / "train")
    (root / "train/ant/self").symlink_to(root / "train/ant")
    (root / "train/bee/top").symlink_to("/")
    save(root.parent / "elsewhere/7.png", 77)
    (root / "train/bee/more").symlink_to(root.parent / "elsewhere")
    (root / "train/bee/8.png").symlink_to(root.parent / "elsewhere/7.png")
    assert data.load(name(root), "train").labels.tolist() == [0] * 3 + [1] * 5
    assert "3 linked in a circle" in capsys.readouterr().err


def test_doubles_are_counted(root):
    # Catches one pair a start.
    for i in range(3):
        shutil.copy(root / f"train/ant/{i}.png", root / f"test/bee/x{i}.png")
    shutil.copy(root / "train/bee/0.png", root / "test/ant/x.png")
    with pytest.raises(
        UserError, match=r"4 of 8 test images are training.*, \.\.\.\)"
    ) as e:
        data.describe(name(root))
    assert str(e.value).count(" shows ") == 3


def test_unreadable_folder(root, monkeypatch):
    # Catches a traceback where a folder may not be listed.
    def scan(path):
        if str(path).endswith("train/bee"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(
        UserError, match=r"train/bee cannot be read \(Permission denied"
    ):
        data.describe(name(root))


def test_no_path():
    # Catches the working directory taken for what nobody named.
    with pytest.raises(UserError, match="write the folder's path"):
        data.describe("folder:")
