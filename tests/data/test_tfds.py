import io
import json
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sslx import data
from sslx.data import form
from sslx.data.sources import id_cache
from sslx.data.sources import tfds as tfds_source
from sslx.data.splits import divide
from sslx.types import UserError
from tests import tiny
from tests.tiny import ROOT

SHAPE = (5, 5, 3)
COUNTS = {"train": 40, "test": 12}


def pixels(i, shape=SHAPE):
    return np.random.RandomState(i).randint(0, 256, shape).astype(np.uint8)


def png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    out.seek(0)
    return out


def prepare(folder, name="toys", *, splits=COUNTS, salt="", shape=SHAPE, **more):
    """Writes a set with TFDS; image i of a split shows ``pixels(i)``, label i % 3.

    ``salt`` goes into the keys that TFDS shuffles by; ``more`` are further features of
    the kind ``kind``, with a function of (split, i) for their values; ``resize`` of i
    gives other shapes, ``label`` other labels, None none.
    """
    kind = more.pop("kind", tfds.features.Text())
    resize = more.pop("resize", lambda i: SHAPE)
    keys = more.pop("supervised_keys", ("image", "label"))
    label = more.pop("label", lambda i: i % 3)

    def info(self):
        features = {
            "image": tfds.features.Image(shape=shape),
            **({"label": tfds.features.ClassLabel(num_classes=3)} if label else {}),
            **{key: kind for key in more},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=keys,
        )

    def examples(self, split):
        for i in range(splits[split]):
            values = {key: value(split, i) for key, value in more.items()}
            image = png(pixels(i, resize(i)))
            values |= {"label": label(i)} if label else {}
            yield f"{salt}{i}", {"image": image, **values}

    with tfds.core.registered.skip_registration():
        cls = type(
            "Toys",
            (tfds.core.GeneratorBasedBuilder,),
            {
                "name": name,
                "VERSION": tfds.core.Version("1.2.0"),
                "_info": info,
                "_split_generators": lambda self, _: {
                    s: examples(self, s) for s in splits
                },
                "_generate_examples": examples,
            },
        )
    builder = cls(data_dir=str(folder), file_format="array_record")
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return data.Options(dir=str(folder))


def official(split, i):
    return f"{split}_{i:05d}"


@pytest.fixture(scope="module")
def official_set(tmp_path_factory):
    """A set with official ids; only to be read."""
    return prepare(tmp_path_factory.mktemp("official"), id=official)


@pytest.fixture(scope="module")
def plain_set(tmp_path_factory):
    """A set without ids; only to be read."""
    return prepare(tmp_path_factory.mktemp("plain"))


def copy_of(options, folder):
    """A copy to be changed."""
    shutil.copytree(options.dir, folder, dirs_exist_ok=True)
    return options._replace(dir=str(folder))


def rows_of(images):
    """Which i each image shows."""
    known = {pixels(i).tobytes(): i for i in range(max(COUNTS.values()))}
    return np.array([known[image.tobytes()] for image in images])


def test_images_labels_and_official_ids(official_set):
    # Catches labels of other images, ids that count the shuffled rows.
    options = official_set
    info = data.describe("toys", options)
    ids = info.identity["tfds"]["ids"]
    known = {"name": "toys", "version": "1.2.0", "examples": COUNTS, "ids": ids}
    assert info == data.Info({"tfds": known}, "toys", SHAPE, 3, COUNTS)
    assert len(ids) == 16
    for split, count in COUNTS.items():
        images, labels = data.load("toys", split, options)
        shown = rows_of(images)
        assert sorted(shown) == list(range(count)) and list(shown) != sorted(shown)
        np.testing.assert_array_equal(labels, shown % 3)
        np.testing.assert_array_equal(data.ids("toys", split, options), shown)
        assert labels.dtype == np.int32 and not images.flags.writeable


@pytest.mark.parametrize("ids", [{}, {"id": lambda s, i: f"x{i % 2}"}])
def test_choice_of_rows_does_not_depend_on_their_order(tmp_path, plain_set, ids):
    # Catches a held-out part that is another after the set was prepared anew, equal
    # images on both sides, and ids that stand for several images being used. And rows
    # in another order taken for the same set: batches and queries go by row.
    first, second = plain_set, prepare(tmp_path, salt="b", **ids)
    assert data.describe("toys", first) != data.describe("toys", second)
    chosen = []
    for options in (first, second):
        numbers = data.ids("toys", "train", options)
        assert numbers.dtype == np.int64 and len(set(numbers)) == 40
        _, rows = divide(numbers, 0.25, 0)
        images = data.load("toys", "train", options).images
        chosen.append([i.tobytes() for i in images[rows]])
    assert chosen[0] != chosen[1] and sorted(chosen[0]) == sorted(chosen[1])


@pytest.mark.parametrize(
    "kind,value,expected",
    [
        (np.int64, lambda s, i: 1000 + i, 1000),
        (np.float32, lambda s, i: i / 2, None),
        (np.uint64, lambda s, i: 2**63 + i, None),
    ],
)
def test_ids_that_are_no_text(tmp_path, plain_set, kind, value, expected):
    # Catches a TypeError at integers, and numbers cut to fit.
    options = prepare(tmp_path, kind=tfds.features.Scalar(kind), id=value)
    ids = data.ids("toys", "test", options)
    if expected is None:
        assert sorted(ids) == sorted(data.ids("toys", "test", plain_set))
        return
    shown = rows_of(data.load("toys", "test", options).images)
    np.testing.assert_array_equal(ids, expected + shown)


def test_other_pixels_are_another_set(tmp_path, plain_set, monkeypatch):
    # Catches a victim shared by machines whose decoders give other pixels, and ids
    # remembered from before Pillow was changed.
    before = data.describe("toys", plain_set)
    decode = form.decode
    monkeypatch.setattr(form, "decode", lambda *a: decode(*a) ^ 1)
    monkeypatch.setattr(tfds_source.PIL, "__version__", "another")
    tfds_source._read_once.cache_clear()
    assert data.describe("toys", plain_set) != before
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tfds_source._read_once.cache_clear()
    assert data.describe("toys", plain_set) == before


def test_last_ones(official_set):
    # Catches the last rows taken for the last images.
    options = official_set
    numbers = data.ids("toys", "test", options)
    rest, last = divide(numbers, 0.25, None)
    assert sorted(numbers[last]) == [9, 10, 11] and len(rest) == 9
    images = data.load("toys", "test", options).images[last]
    assert sorted(rows_of(images)) == [9, 10, 11]
    shuffled = np.random.RandomState(0).permutation(numbers)
    _, other = divide(shuffled, 0.25, None)
    assert sorted(shuffled[other]) == [9, 10, 11]


def test_ids_are_remembered_until_the_files_change(tmp_path, official_set, monkeypatch):
    # Catches 60,000 records read at every start, ids of other files under the same
    # name, and a damaged cache that is believed.
    options = copy_of(official_set, tmp_path / "sets")
    first = data.ids("toys", "train", options)
    monkeypatch.setattr(tfds_source, "_official", lambda *_: np.arange(40) + 100)
    np.testing.assert_array_equal(data.ids("toys", "train", options), first)
    cached = list((tmp_path / "home" / ".cache").rglob("*.npz"))
    assert len(cached) == 3  # the set's own of both splits, and those of the pixels
    for file in cached:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert data.ids("toys", "train", options)[0] == 100
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.rmtree(tmp_path / "sets")
    prepare(tmp_path / "sets", id=official, salt="x")
    again = data.ids("toys", "train", options)
    assert sorted(again) == sorted(first) and list(again) != list(first)


def test_home_that_cannot_be_written_to(tmp_path, official_set, monkeypatch):
    # Catches a cache that a program cannot do without.
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(id_cache, "FOLDER", str(tmp_path / "file" / "x"))
    assert len(data.ids("toys", "train", official_set)) == 40


def test_validation_serves_as_test_and_keys_are_found(tmp_path):
    # Catches a set refused because it has no test split or no supervised keys.
    splits = {"train": 40, "validation": 12}
    options = prepare(tmp_path, splits=splits, supervised_keys=None)
    assert data.describe("toys", options).sizes == COUNTS
    assert len(data.load("toys", "test", options).labels) == 12


@pytest.mark.parametrize("kind", ["plain_set", "official_set"])
def test_describe_reads_records_once(kind, request, monkeypatch):
    # Catches a start that reads a gigabyte to learn what is written down.
    options = request.getfixturevalue(kind)
    small = options._replace(size=3, channels=1)
    first = [data.describe("toys", how) for how in (options, small)]
    monkeypatch.setattr(tfds_source, "_records", None)
    tfds_source._read_once.cache_clear()
    tfds_source._official.cache_clear()
    assert first == [data.describe("toys", how) for how in (options, small)]
    assert [info.image_shape for info in first] == [SHAPE, (3, 3, 1)]


def test_shape_that_is_not_declared(tmp_path):
    # Catches grey images that go by the name of the coloured ones.
    options = prepare(tmp_path, shape=(None, None, 3))
    plain = data.describe("toys", options)
    grey = data.describe("toys", options._replace(channels=1))
    assert (plain.image_shape, grey.image_shape) == (SHAPE, (5, 5, 1))
    assert grey.identity == plain.identity | {"form": {"channels": 1}}
    assert data.describe("toys", options._replace(channels=3)) == plain


def test_images_of_mixed_size(tmp_path):
    # Catches numpy's message on ragged arrays.
    options = prepare(
        tmp_path, shape=(None, None, 3), resize=lambda i: (5 + i % 2, 6, 3)
    )
    with pytest.raises(UserError, match="'toys' has images of mixed size.*data.size"):
        data.describe("toys", options)
    square = options._replace(size=4)
    assert data.describe("toys", square).image_shape == (4, 4, 3)
    assert data.load("toys", "test", square).images.shape == (12, 4, 4, 3)


def test_form(plain_set):
    # Catches a set of the right form taken for another one.
    options = plain_set
    plain = data.describe("toys", options)
    assert data.describe("toys", options._replace(size=5, channels=3)) == plain
    ids = data.ids("toys", "train", options)
    small = options._replace(size=2)
    np.testing.assert_array_equal(ids, data.ids("toys", "train", small))
    assert data.load("toys", "train", small).images.shape == (40, 2, 2, 3)


def test_versions_configs_and_places(tmp_path, plain_set, monkeypatch):
    # Catches an old version read in place of the newest, or another than was asked.
    options = copy_of(plain_set, tmp_path)
    older = shutil.copytree(tmp_path / "toys" / "1.2.0", tmp_path / "toys" / "1.0.0")
    meta = older / "dataset_info.json"
    meta.write_text(meta.read_text().replace("1.2.0", "1.0.0"))
    version = "tfds"
    assert data.describe("toys", options).identity[version]["version"] == "1.2.0"
    old = data.describe("toys:1.0.0", options).identity[version]
    assert old["version"] == "1.0.0"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data.describe("toys").classes == 3


def spoil_info(folder):
    (folder / "dataset_info.json").write_text("{")


def spoil_format(folder):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"fileFormat": "tfrecord"}))


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "spoil,expected",
    [
        (empty, "1.2.0 holds no prepared set .*; remove that folder and"),
        (spoil_info, "1.2.0 holds no prepared set .*; remove that folder and"),
        (spoil_format, "is prepared as tfrecord, sslx reads array_record; use another"),
        (lambda f: (f / "features.json").unlink(), "holds no prepared set"),
    ],
)
def test_what_is_no_prepared_set(tmp_path, plain_set, spoil, expected):
    # Catches TFDS's three paragraphs on random access in place of one line.
    options = copy_of(plain_set, tmp_path)
    spoil(tmp_path / "toys" / "1.2.0")
    with pytest.raises(UserError, match=expected) as error:
        data.describe("toys", options)
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, data.Missing)  # never skipped in silence


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damaged_records(tmp_path, plain_set, how):
    # Catches the reader's C++ message, or images that are left out.
    options = copy_of(plain_set, tmp_path)
    (path,) = (tmp_path / "toys" / "1.2.0").glob("*train*")
    content = bytearray(path.read_bytes())
    content[content.find(b"PNG") + 60] ^= how == "flipped"
    path.write_bytes(content[: len(content) // 2] if how == "cut" else content)
    if how == "gone":
        path.unlink()
    with pytest.raises(UserError, match="the train split is damaged") as error:
        data.load("toys", "train", options)
    assert "\n" not in str(error.value)


def test_sets_that_are_not_for_classification(tmp_path):
    # Catches images of unknown class taken for class -1.
    options = prepare(tmp_path / "a", label=lambda i: -1)
    with pytest.raises(UserError, match="40 images without a label in train; as"):
        data.load("toys", "train", options)
    options = prepare(tmp_path / "b", splits={"test": 4})
    with pytest.raises(UserError, match="no images in a train split, only test"):
        data.describe("toys", options)


def test_sets_that_are_pools(tmp_path):
    # Catches a pool that is refused for want of labels or of a test split.
    options = prepare(tmp_path / "a", splits={"train": 4})
    assert data.describe("toys", options).sizes == {"train": 4}
    assert data.load("toys", "train", options).images.shape == (4, *SHAPE)
    with pytest.raises(UserError, match="has no test split, only train"):
        data.load("toys", "test", options)
    options = prepare(tmp_path / "b", label=None, supervised_keys=None)
    assert data.describe("toys", options).classes == 0
    assert set(data.load("toys", "test", options).labels) == {-1}


@pytest.mark.parametrize("name", ["cifra10", "../x", "npx:file", "Cifar10", "a b", ""])
def test_misspelt(tmp_path, name):
    # Catches the list of a thousand names that TFDS prints, and a path as a name.
    with pytest.raises(UserError, match="unknown data set .*known: digits, fo") as e:
        data.describe(name, data.Options(dir=str(tmp_path)))
    assert "\n" not in str(e.value) and not isinstance(e.value, data.Missing)


def test_missing_set_asks_nobody(tmp_path, monkeypatch):
    # Catches minutes of retries without a network, and a download nobody asked for.
    asked = []

    def ask(*address):
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", ask)
    monkeypatch.setattr(socket, "getaddrinfo", ask)
    with pytest.raises(data.Missing):
        data.describe("cifar10", data.Options(dir=str(tmp_path)))
    assert not asked
    where = str(tmp_path / "my sets")
    with pytest.raises(data.Missing, match=f"--data_dir '{where}'`"):
        data.describe("cifar10", data.Options(dir=where))


def test_missing_set_is_one_line(tmp_path):
    # Catches a traceback, a victim's set that is skipped, and folders left behind.
    settings = {"data.dir": tmp_path / "none", "probe.skip_missing": True}
    done = tiny.launch(
        tmp_path / "w", config="configs/cifar_direct.py", settings=settings
    )
    (line,) = done.stderr.splitlines()
    assert "sslx prepare cifar10" in line and "data.dir" in line
    assert "TFDS_DATA_DIR" in line and str(tmp_path / "none") in line
    assert done.returncode == 1
    assert not (tmp_path / "none").exists() and not (tmp_path / "w").exists()


def test_no_tensorflow(official_set):
    # Catches a reader that only works where TensorFlow is installed.
    code = (
        "import sys; from sslx import data; o = data.Options(dir=sys.argv[1]);"
        "data.describe('toys', o); data.ids('toys', 'train', o);"
        "data.load('toys', 'train', o); import sslx.data.sources.prepare;"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, official_set.dir], cwd=ROOT, check=True)
