import shutil

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import form
from sslx.types import UserError

CLASSES = ("ant", "bee")


def save(path, value, shape=(6, 6, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(path)


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


@pytest.mark.parametrize(
    "spoil,expected",
    [
        (lambda r: truncate(r / "test/bee/1.png"), r"bee/1\.png is not a readable"),
        (lambda r: (r / "train/ant/0.png").write_text(""), r"ant/0\.png is not a read"),
        (lambda r: shutil.rmtree(r / "test"), "has no folder test; .*PATH/train/CLASS"),
        (lambda r: shutil.rmtree(r / "train/ant"), "two classes or more, .*'bee'"),
        (lambda r: shutil.rmtree(r / "test/ant"), "'ant' is only in train"),
        (lambda r: (r / "test/ant/0.png").rename(r / "a"), None),
        (
            lambda r: [p.unlink() for p in (r / "train/bee").iterdir()],
            "train/bee holds no image",
        ),
        (shutil.rmtree, "no folder .*set; a folder set is PATH/train/CLASS"),
    ],
)
def test_spoilt_folders(root, spoil, expected):
    # Catches a traceback, or a set that is read without what is broken in it.
    spoil(root)
    if expected is None:
        assert data.describe(name(root)).sizes["test"] == 3
        return
    with pytest.raises(UserError, match=expected) as error:
        data.describe(name(root))
    assert "\n" not in str(error.value) and str(root) in str(error.value)


def test_classes_without_splits(tmp_path):
    # Catches the commonest other layout being met with a riddle.
    for c in CLASSES:
        save(tmp_path / c / "0.png", 1)
    with pytest.raises(UserError, match="no folder train and no test; .*PATH/test/CL"):
        data.describe(name(tmp_path))
    with pytest.raises(UserError, match="write the folder's path"):
        data.describe("folder:")
