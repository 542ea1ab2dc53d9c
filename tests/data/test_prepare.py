import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sslx import data
from sslx.cli.prepare import main
from sslx.data.sources import prepare
from sslx.data.sources.archives import READERS
from sslx.types import UserError
from tests.data.published import COUNTS, labels, pixels, published
from tests.tiny import ROOT


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """``publish(name) -> (table, log)``: serves a set in place of its real home."""
    stack = []

    def start(name):
        context = published(name, tmp_path / "served" / name)
        stack.append(context)
        table, asked = context.__enter__()
        monkeypatch.setattr(prepare, "archives", lambda _: table)
        return table, asked

    yield start
    for context in stack:
        context.__exit__(None, None, None)


def here(tmp_path):
    return data.Options(dir=str(tmp_path / "sets"))


def run(tmp_path, *names):
    return main([*names, "--data_dir", str(tmp_path / "sets")])


@pytest.mark.parametrize("name", sorted(READERS))
def test_prepared_set_is_what_was_published(name, tmp_path, publish, capsys):
    # Catches rows for columns, planes for pixels, labels off by one or of the wrong
    # column, ids that do not count in the official order, a split left out. And a
    # version of our own, lost class names, coarse labels, ids of another form, a set
    # that TFDS's own reader does not take.
    publish(name)
    assert run(tmp_path, name) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "sets" / name) in out and "30 train" in out
    options = here(tmp_path)
    info = data.describe(name, options)
    assert info.sizes == {"train": 30, "test": 20}
    assert info.classes == (100 if name == "cifar100" else 10)
    for split in ("train", "test"):
        want, digits = pixels(name, split), labels(name, split)
        images, found = data.load(name, split, options)
        ids = data.ids(name, split, options)
        if "id" not in features(name, tmp_path):  # ids tell equal pixels only
            assert len(set(ids)) == COUNTS[split]
            official = {image.tobytes(): i for i, image in enumerate(want)}
            ids = np.array([official[image.tobytes()] for image in images])
        assert sorted(ids) == list(range(COUNTS[split]))
        assert list(ids) != sorted(ids)  # TFDS has shuffled
        np.testing.assert_array_equal(images, want[ids])
        np.testing.assert_array_equal(found, digits[ids])
    as_tfds_itself_would(name, tmp_path)


def builder_of(name, tmp_path):
    import tensorflow_datasets as tfds

    (folder,) = (tmp_path / "sets" / name).iterdir()
    return tfds.builder_from_directory(folder)


def features(name, tmp_path):
    return builder_of(name, tmp_path).info.features


def as_tfds_itself_would(name, tmp_path):
    import tensorflow_datasets as tfds

    official, ours = tfds.builder(name), builder_of(name, tmp_path)
    assert str(ours.version) == str(official.version)
    assert set(ours.info.features) == set(official.info.features)
    if name == "cifar100":
        by = {row["id"].decode(): row for row in ours.as_data_source("train")}
        assert "train_00007" in by and len(by) == 30
        for i, label in enumerate(labels("cifar100", "train")):
            row = by[f"train_{i:05d}"]
            assert (row["label"], row["coarse_label"]) == (label, (label + 5) % 20)
        names = ours.info.features
        assert names["coarse_label"].names[3] == "c3"
        assert names["label"].names[99] == "f99"
    if name == "stl10":
        sizes = {s: i.num_examples for s, i in ours.info.splits.items()}
        assert sizes == {"train": 30, "test": 20, "unlabelled": 10}
        assert {row["label"] for row in ours.as_data_source("unlabelled")} == {-1}


def test_addresses_are_those_of_tfds():
    # Catches a set whose archives TFDS lists no checksum for, or under other keys than
    # the reader looks up.
    for name in READERS:
        found = prepare.archives(name)
        keys = {"svhn_cropped": {"train", "test", "extra"}}.get(name, {""})
        if "mnist" in name:
            keys = {f"{s}_{w}" for s in ("train", "test") for w in ("data", "labels")}
        assert set(found) == keys
        for archive in found.values():
            assert archive.url.startswith("http") and archive.size > 1000
            assert len(archive.sha256) == 64


def test_again_and_resumed(tmp_path, publish, capsys):
    # Catches a download that is made twice, and one that stays half.
    table, asked = publish("mnist")
    folder = tmp_path / "sets" / "downloads" / "mnist"
    folder.mkdir(parents=True)
    whole, half = table["train_data"].filename, table["test_data"].filename
    for filename in (whole, half):
        content = (tmp_path / "served" / "mnist" / filename).read_bytes()
        (folder / filename).write_bytes(content[: None if filename == whole else 50])
    assert run(tmp_path, "mnist") == 0
    assert len(asked) == 3 and f"/{whole}" not in asked
    capsys.readouterr()
    assert run(tmp_path, "mnist") == 0
    assert "prepared already" in capsys.readouterr().out
    assert len(asked) == 3


def nothing_half(tmp_path):
    """Whether only downloads are left, and whole ones."""
    left = [p for p in (tmp_path / "sets").iterdir() if p.name != "downloads"]
    return not left and not list(tmp_path.rglob("*.part"))


def failing(tmp_path, capsys, *names):
    assert run(tmp_path, *names) == 1
    out = capsys.readouterr()
    (line,) = out.err.splitlines()
    assert line.startswith("sslx: ") and nothing_half(tmp_path)
    return line


def test_wrong_checksum(tmp_path, publish, capsys):
    # Catches another file of that name being believed.
    table, _ = publish("cifar10")
    table[""] = table[""]._replace(sha256="0" * 64)
    line = failing(tmp_path, capsys, "cifar10")
    assert "is not the file it should be" in line and "what lies there" not in line
    assert not list((tmp_path / "sets").rglob("*.bin"))
    put_by_hand(tmp_path, table[""].filename)
    line = failing(tmp_path, capsys, "cifar10")
    assert "what lies there now has the sha256 2d711642b726" in line


def put_by_hand(tmp_path, filename):
    folder = tmp_path / "sets" / "downloads" / "cifar10"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / filename).write_text("x")


@pytest.mark.parametrize("name", ["cifar10", "mnist", "svhn_cropped"])
def test_damaged_archive(name, tmp_path, publish, monkeypatch, capsys):
    # Catches a traceback, and the empty version folder that TFDS takes for TFRecord.
    _, _ = publish(name)

    def fetch(url, path, size, sha256):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (tmp_path / "served" / name / path.name).read_bytes()
        path.write_bytes(content[: len(content) // 2])

    monkeypatch.setattr(prepare, "fetch", fetch)
    assert "is damaged" in failing(tmp_path, capsys, name)


@pytest.mark.parametrize(
    "error,expected",
    [
        (ValueError("cut short"), r"an archive in .* is damaged \(cut short\)"),
        (TypeError("x"), r"archives in .*cifar10 cannot be read \(TypeError: x\)$"),
        (RuntimeError("x: write() failed: No space left on device; 3"), "cannot prep"),
        (
            OSError(28, "No space left on device"),
            "cannot prepare cifar10 in .*No space",
        ),
    ],
)
def test_failing_halfway(tmp_path, publish, monkeypatch, capsys, error, expected):
    # Catches a failure in the middle of writing that leaves the first split behind, and
    # a full disk, or a mistake of ours, put down to the archive.
    publish("cifar10")
    reader = READERS["cifar10"]

    def broken(builder, files, scratch):
        found = reader(builder, files, scratch)
        count, examples = found.splits["test"]

        def some():
            yield next(examples)
            raise error

        return found._replace(splits=found.splits | {"test": (count, some())})

    monkeypatch.setitem(READERS, "cifar10", broken)
    assert re.search(expected, failing(tmp_path, capsys, "cifar10"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, publish, monkeypatch, capsys, number):
    # Catches a traceback at Ctrl-C, a half set that looks whole, and what is half done
    # left behind by a batch system's SIGTERM.
    publish("mnist")
    idx = READERS["mnist"]

    def interrupted(*args):
        os.kill(os.getpid(), number)
        return idx(*args)

    def outer(*_):
        pass

    monkeypatch.setitem(READERS, "mnist", interrupted)
    before = signal.signal(signal.SIGTERM, outer)
    # Ignored where the tests were started in the background of a script.
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run(tmp_path, "mnist") == 130
        assert signal.getsignal(signal.SIGTERM) is outer
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ctrl_c)
    (line,) = capsys.readouterr().err.splitlines()
    assert "interrupted" in line and nothing_half(tmp_path)


def test_two_at_once(tmp_path, publish, monkeypatch):
    # Catches the second dying at the end, the work done twice, and what a killed
    # process has left lying about for ever.
    _, asked = publish("mnist")
    sets = tmp_path / "sets"
    stale = [sets / ".preparing-mnist-x", sets / "downloads" / "mnist" / "a.1.part"]
    others = sets / ".preparing-fashion_mnist-x"
    for path in (*stale, others):
        path.mkdir(parents=True)
    stale[1].rmdir()
    stale[1].write_text("")
    inside, told, lines = threading.Event(), threading.Event(), []
    idx = READERS["mnist"]

    def slow(*args):
        inside.set()
        told.wait(60)
        return idx(*args)

    def say(text):
        lines.append(text)
        told.set()

    monkeypatch.setitem(READERS, "mnist", slow)
    monkeypatch.setattr(prepare, "say", say)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(prepare.prepare, "mnist", str(sets))
        assert inside.wait(60)
        second = prepare.prepare("mnist", str(sets))
        assert first.result() == second
    (line,) = lines
    assert "another process prepares mnist" in line and len(asked) == 4
    assert not any(path.exists() for path in stale) and others.exists()


def test_no_network(tmp_path, publish, capsys):
    # Catches retries for minutes, and a message that does not say what to do.
    table, _ = publish("cifar10")
    url = "http://127.0.0.1:9/cifar.tar.gz"  # nobody listens
    table[""] = table[""]._replace(url=url)
    line = failing(tmp_path, capsys, "cifar10")
    assert url in line and "another machine" in line and "lies there" not in line
    put_by_hand(tmp_path, table[""].filename)
    line = failing(tmp_path, capsys, "cifar10")
    assert url in line and "what lies there now has the sha256 2d711642b726" in line


def test_disk(tmp_path, publish, capsys):
    # Catches mkdir's traceback.
    publish("cifar10")
    (tmp_path / "sets").write_text("")
    assert run(tmp_path, "cifar10") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot prepare cifar10" in line


def test_other_sets(tmp_path, capsys):
    # Catches a set that we cannot prepare without a word on who can.
    (tmp_path / "sets").mkdir()
    line = failing(tmp_path, capsys, "imagenette")
    command = "tfds build imagenette --file_format=array_record --data_dir="
    assert command in line and str(tmp_path / "sets") in line
    with pytest.raises(UserError, match="--data_dir='my sets'`"):
        prepare.prepare("imagenette", "my sets")


def test_download_asked_for(tmp_path, publish):
    # Catches a download that nobody asked for, and one that does not come when asked.
    _, asked = publish("fashion_mnist")
    options = here(tmp_path)
    with pytest.raises(UserError, match="sslx prepare fashion_mnist"):
        data.describe("fashion_mnist", options)
    assert not asked
    info = data.describe("fashion_mnist", options._replace(download=True))
    assert info.sizes["train"] == 30 and len(asked) == 4


def test_command_line(tmp_path):
    # Catches a module that does not run as a command, or needs TensorFlow to.
    done = subprocess.run(
        [sys.executable, "-m", "sslx", "prepare", "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "--data_dir DIR" in done.stdout
    assert "cifar10" in done.stdout and not done.stderr
