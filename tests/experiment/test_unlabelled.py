"""Sets without labels or without a test split: what takes them, what says no."""

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.context import pool
from sslx.experiment.graph import resolve
from sslx.experiment.pools import open_pool
from sslx.program import run
from sslx.types import UserError
from tests import tiny


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Names of sets: bare ones (a file, a folder), labelled ones without a test."""
    base, random = tmp_path_factory.mktemp("sets"), np.random.RandomState(0)
    images = random.randint(0, 256, (90, 12, 12, 1)).astype(np.uint8)
    np.savez(base / "bare.npz", images=images)
    np.savez(base / "tested.npz", train_images=images[:70], test_images=images[70:])
    np.savez(base / "train.npz", train_images=images, train_labels=np.arange(90) % 3)
    np.savez(base / "one.npz", train_images=images, train_labels=np.zeros(90, int))
    (base / "bare").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(base / "bare" / f"{i}.png")
    names = {path.stem: f"npz:{path}" for path in base.glob("*.npz")}
    return names | {"folder": f"folder:{base / 'bare'}"}


def config(sets, **changes):
    changes = {k: sets.get(v, v) for k, v in changes.items()}
    return tiny.config(**{"steal__queries": 20} | changes)


@pytest.mark.parametrize("name", ["bare", "folder", "tested", "train"])
def test_a_pool_needs_neither(sets, tmp_path, name):
    # Catches a pool refused for what no attack looks at, and classes it has not.
    c = config(sets, steal__pool=name)
    found = open_pool(c, [])
    assert found.labelled == (name == "train") and found.size in (70, 90)
    experiment = resolve(c, tmp_path)
    theft = experiment.thefts[0]
    images = pool(theft.responses.recipe, experiment.context)
    assert images.load().shape == (found.size, 12, 12, 1)
    assert (images.labels is None) == (name != "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe__datasets": ("bare",)}, "bare.npz' has no labels; a probe needs cl"),
        ({"probe__datasets": ("tested",)}, "tested.npz' has no labels"),
        ({"probe__datasets": ("one",)}, "one.npz' has a single class; a probe needs"),
        ({"probe__datasets": ("train",)}, "train.npz' has no test split, only train"),
        (
            {"victim__dataset": "folder", "victim__watch_every": 1},
            "bare' has no labels; watching a victim needs .*victim.watch_every=0",
        ),
        (
            {"victim__dataset": "bare", "victim__objective": "supervised"},
            "bare.npz' has no labels; victim.objective='supervised' needs classes",
        ),
        (
            {"victim__dataset": "one", "victim__objective": "supervised"},
            "one.npz' has a single class; victim.objective='supervised' needs classes",
        ),
        (
            {
                "victim__dataset": "bare",
                "steal__pool": "test",
                "victim__watch_every": 0,
            },
            "bare.npz' has no test split, only train",
        ),
        (
            {
                "victim__dataset": "tested",
                "victim__watch_every": 0,
                "service__output": "label",
                "steal__attack": "label_theft",
                "steal__loss": "own",
            },
            "tested.npz' has no labels; service.output='label' needs .*'represent",
        ),
        (
            {
                "steal__pool": "bare",
                "steal__loss": "supcon",
                "steal__loss_kw__supcon__labels": 0,
            },
            "labels=0 takes the true labels, and the pool .*tells no classes apart",
        ),
    ],
)
def test_what_needs_them_says_so(sets, tmp_path, changes, message):
    # Catches a training on the class -1, a figure on nothing, and a late traceback.
    if "probe__datasets" in changes:
        changes = {
            "probe__datasets": tuple(sets[n] for n in changes["probe__datasets"])
        }
    with pytest.raises(UserError, match=message) as error:
        resolve(config(sets, **changes), tmp_path)
    assert str(error.value).isprintable()


@pytest.mark.slow  # a whole experiment
def test_sets_of_odd_names(sets, tmp_path):
    # Catches a stage that reads labels or a test split where nobody asked for them, and
    # a page or a picture that a data set's name breaks: long, bytes of another
    # encoding, a line's end, a dollar.
    labelled = tmp_path / ("\udce9t\udce9 $x^" + "x" * 230)
    pool = tmp_path / ("p" * 200 + "\n<b>")
    for i, image in enumerate(np.random.RandomState(1).randint(0, 256, (150, 12, 12))):
        split = labelled / ("test" if i % 3 == 0 else "train") / f"{i % 2}\udce9"
        folder = split if i < 90 else pool
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{i}.png")
    c = config(sets, victim__steps=4, steal__steps=4)
    c.victim.dataset, c.probe.datasets = sets["folder"], (f"folder:{labelled}",)
    c.victim.watch_every, c.probe.knn_k = 0, 5
    c.victim.batch_size = c.steal.batch_size = 16
    c.data.held_out, c.steal.pool = 0, f"folder:{pool}"
    run(c, tmp_path / "w")
    (page,) = (tmp_path / "w").glob("report/*/*.html")
    assert "<b>" not in page.read_text().replace("</b>", "")
    assert r"\udce9t\udce9 $x^" in page.read_text()


def test_classes_of_tests_are_looked_at_first(tmp_path, monkeypatch):
    # Catches a source of one's own whose test classes nobody has seen: said only when
    # all is trained and paid for.
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    labels = {"train": np.arange(40) % 2, "test": np.arange(40) % 4}
    info = data.Info({"own": 1}, "own", (12, 12, 1), 4, {"train": 40, "test": 40})
    source = data.source.Source(
        find=lambda rest, options: None,
        describe=lambda rest, options: info,
        load=lambda rest, s, options: data.Split(
            images ^ (s == "test"), labels[s].astype(np.int32)
        ),
        ids=lambda rest, s, options: np.arange(40),
    )
    monkeypatch.setitem(data.SOURCES, "own", source)
    c = tiny.config(probe__datasets=("own",), probe__knn_k=3)
    with pytest.raises(UserError, match="'own': 20 of 40 test images"):
        resolve(c, tmp_path)
