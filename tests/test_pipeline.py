import base64
import io
import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import sslx
from sslx import data
from sslx.context import pool
from sslx.data.splits import divide
from sslx.experiment.graph import resolve
from sslx.program import run
from sslx.stages import probe as probe_stage
from sslx.stages import training
from sslx.stages.answers import answered
from sslx.types import UserError
from tests import tiny
from tests.report.reading import page_of

ALSO = ("loss=infonce", "queries=90")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, experiment):
    """A workdir of its own, in which two losses have been tried."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return shutil.copytree(
        experiment, folder, ignore=lambda *_: {"report"}, dirs_exist_ok=True
    )


@pytest.fixture(scope="module")
def report(workdir):
    """A finished experiment with a second loss and a smaller budget."""
    return run(tiny.config(also=ALSO), workdir)


def read(folder, name="results.json"):
    return json.loads((folder / name).read_text())


def test_results(report):
    # Catches a row left out, intervals off, a budget that is not exact, times among
    # the counters.
    found = read(report)
    thefts = ("mse, 90 queries", "mse, 300 queries", "infonce, 300 queries")
    encoders = [("victim", None), *(("stolen", cell) for cell in thefts)]
    encoders += [("untrained", None), ("untrained", None), ("pixels", None)]
    rows = [(r["role"], r["cell"], r["evaluator"]) for r in found["rows"]]
    expected = [(*e, v) for e in encoders for v in ("linear", "knn")]
    assert rows == [*expected, ("pixels", None, "svm")]
    for row in found["rows"]:
        low, high = row["interval"]
        assert 0 <= low < row["accuracy"] < high <= 1
        assert (row["dataset"], row["n_test"], row["runs"]) == ("digits", 1341, 1)
        assert row["interval_kind"] == "wilson"
        assert row["seeds"] == ([] if row["role"] == "pixels" else [0])
    assert (found["schema"], found["primary"]) == (3, "linear")
    assert found["headline"] == thefts[1]
    assert tiny.bill(found, thefts[1]) == {
        "unique_images": 300,
        "images": 300,
        "calls": 5,
        "values": 300 * 32,
        "limit": 300,
        "cost": 0.3,
    }
    sent = {cell: tiny.bill(found, cell)["images"] for cell in found["counters"]}
    assert sent == dict(zip(thefts, (90, 300, 300), strict=True))


def test_layout(report, workdir):
    # Catches files strewn between the runs, and runs that a loss does not share.
    stages = {p.name: sorted(q.name for q in p.iterdir()) for p in workdir.iterdir()}
    assert set(stages) == {
        "victim",
        "responses",
        "steal",
        "features",
        "probe",
        "fidelity",
        "gallery",
        "report",
    }
    counts = {stage: len(names) for stage, names in stages.items()}
    assert counts == {
        "victim": 1,
        "responses": 2,
        "steal": 3,
        "features": 7,
        "probe": 7,
        "fidelity": 5,
        "gallery": 1,
        "report": 1,
    }
    assert {p.name for p in report.iterdir()} >= {
        "results.json",
        "report.md",
        "accuracy0.png",
        "queries0.png",
        "curves.png",
        "meta.json",
        "config.json",
    }
    text = (report / "report.md").read_text()
    for picture in ("accuracy0.png", "queries0.png", "curves.png"):
        assert f"({picture})" in text
        assert (report / picture).read_bytes().startswith(b"\x89PNG")


def test_page(report):
    # Catches a page that asks another host, a picture that is none or says nothing to
    # who cannot see it, a figure left out.
    source = (report / "report.html").read_text("utf-8")
    assert len(source) < 5e6
    found = page_of(report)
    assert len(found.images) == 7 + 8 * 11  # charts and maps; neighbours
    assert len(found.links) == len(found.images)  # and nothing else
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style and "<script" not in source
    for image in found.images:
        kind, _, text = image["src"].partition(";base64,")
        content = base64.b64decode(text, validate=True)
        if kind == "data:image/png":
            assert Image.open(io.BytesIO(content)).size == (12, 12)
        else:
            assert kind == "data:image/svg+xml"
            assert ElementTree.fromstring(content).tag.endswith("svg")
        assert image["alt"]
    figures = read(report)
    words = found.text.split()
    for row in figures["rows"]:
        for number in (row["accuracy"], *row["interval"]):
            assert any(f"{100 * number:.1f}" in word for word in words), row
    for record in figures["records"]:
        assert f"{record['scores']['linear']['solved']['l2']:g}" in words
    for cell, (counted,) in figures["counters"].items():
        loss, queries, _ = cell.replace(",", "").split()
        assert loss in words and queries in words
        for counters in counted["accounts"].values():
            assert all(f"{n:,}" in words or str(n) in words for n in counters.values())
    meta = read(report, "meta.json")
    assert all(path.partition("/")[2] in words for path in meta["parents"].values())


def test_the_same_runs_give_the_same_page(report, workdir, tmp_path):
    # Catches a date, a random id, a path of the machine, a map that differs each time.
    shutil.copytree(workdir, tmp_path, ignore=lambda *_: {"report"}, dirs_exist_ok=True)
    again = run(tiny.config(also=ALSO, stages=("report",)), tmp_path)
    names = {p.name for p in report.glob("*.*")} - {"meta.json"}
    assert {"report.html", "report.md", "map-stolen.png"} <= names
    for name in names:
        assert (again / name).read_bytes() == (report / name).read_bytes(), name
    assert str(workdir) not in (report / "report.html").read_text("utf-8")


def touched(workdir):
    return {
        p.relative_to(workdir): p.stat().st_mtime_ns
        for p in workdir.rglob("*")
        if p.is_file()
    }


def test_again_changes_nothing(report, workdir, capsys):
    # Catches a finished stage that is done again.
    before = touched(workdir)
    assert run(tiny.config(also=ALSO), workdir) == report
    assert touched(workdir) == before
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"report: {report / 'report.md'}"
    assert out[-2] == f"page: {report / 'report.html'}"
    assert out[0].split()[:3] == ["data", "set", "encoder"]


def test_what_a_change_reuses(report, workdir):
    # Catches a fingerprint with too much in it (nothing shared) or too little (an old
    # result under a new setting).
    base = resolve(tiny.config(), workdir)

    def same(**changes):
        other = resolve(tiny.config(**changes), workdir)
        return (
            other.members[0].victim == base.members[0].victim,
            other.thefts[0].responses == base.thefts[0].responses,
            other.thefts[0].steal == base.thefts[0].steal,
            other.report == base.report,
        )

    assert same() == (True, True, True, True)
    assert same(steal__loss="infonce") == (True, True, False, False)
    assert same(steal__steps=13) == (True, True, False, False)
    assert same(steal__queries=299) == (True, False, False, False)
    assert same(service__call_size=32) == (True, False, False, False)
    assert same(service__output="projection") == (True, False, False, False)
    assert same(victim__steps=13) == (False, False, False, False)
    assert same(victim__augment="simclr") == (False, False, False, False)
    assert same(data__split_seed=1) == (False, False, False, False)
    assert same(seed=1) == (False, False, False, False)
    assert same(probe__knn_k=5) == (True, True, True, False)
    # Numbers of what is not chosen, and how a run is carried out, do not matter.
    assert same(steal__loss_kw__infonce__temperature=0.3) == (True,) * 4
    assert same(victim__optim__momentum=0.5) == (True,) * 4
    assert same(victim__optim__trust_coefficient=0.5) == (True,) * 4
    assert same(engine__save_every=7, engine__cpu_devices=2) == (True,) * 4
    resolved = resolve(tiny.config(), workdir.parent / "elsewhere")
    assert resolved.report.name == base.report.name


def held_out():
    """The training images that the victim never sees."""
    _, rows = divide(data.ids("digits", "train"), 1 / 3, 0)
    return data.load("digits", "train").images[rows]


def test_the_chain_is_linked(report, workdir):
    # Catches a stealer trained on other answers than the victim's to the images asked,
    # or with a query too many.
    c = tiny.config()
    experiment = resolve(c, workdir)
    (theft,) = experiment.thefts
    _, images, asked, answers = answered(theft.responses, experiment.context)
    assert np.array_equal(asked, images[:, None])  # as they are, one view of each
    victim = sslx.open_run(experiment.members[0].victim.path)
    np.testing.assert_allclose(answers[:, 0], victim.embed(images), atol=1e-5)
    unseen = {image.tobytes() for image in held_out()}
    assert {image.tobytes() for image in images} <= unseen
    steal = sslx.open_run(theft.steal.path)
    assert steal.parents["responses"] == theft.responses.path.resolve()
    assert len(steal.metrics) == 12
    assert steal.meta["finished"] and steal.meta["image_shape"] == [12, 12, 1]
    assert steal.embed(images[:3]).shape == (3, 32)


def test_victim_trains_on_its_own_images_only(tmp_path, monkeypatch):
    # Catches the worst leak: a victim trained on the pool, or on test images.
    seen = []
    monkeypatch.setattr(training, "fit", lambda t, *_: seen.append(t.data))
    monkeypatch.setattr(training.checkpoint, "seal", lambda path: {})
    c = tiny.config(stages=("victim",))
    run(c, tmp_path)
    own = {image.tobytes() for image in seen[0]["images"]}
    assert len(own) == 2700
    for others in (held_out(), data.load("digits", "test").images):
        assert own.isdisjoint(image.tobytes() for image in others)


def test_probe_set_that_is_not_at_hand(report, workdir, tmp_path, capsys, monkeypatch):
    # Catches a report that keeps quiet about a set left out, one that is left out
    # though nobody allowed it, and an experiment without any figure.
    names = {"probe__datasets": ("stl10", "digits"), "data__dir": str(tmp_path)}
    c = tiny.config(also=ALSO, probe__skip_missing=True, **names)
    folder = run(c, workdir)
    assert folder != report  # the recipe knows
    found = read(folder)
    assert found["skipped"] == ["stl10"] and read(report)["skipped"] == []
    assert {row["dataset"] for row in found["rows"]} == {"digits"}
    assert "Note: stl10 was not at hand" in (folder / "report.md").read_text()
    lines = [x for x in capsys.readouterr().err.splitlines() if "stl10" in x]
    assert len(lines) == 1 and "left out" in lines[0]
    # Before any set is read, and all of them at once.
    names["probe__datasets"] = ("stl10", "digits", "mnist")
    both = "prepare stl10.*missing too: mnist; probe.skip_missing=True"
    with pytest.raises(UserError, match=both), monkeypatch.context() as patch:
        patch.setattr(data, "describe", None)
        resolve(tiny.config(**names), tmp_path)
    c.probe.datasets = ("stl10", "mnist")
    with pytest.raises(UserError, match=r"no set.*is at hand \(stl10, mnist\)"):
        resolve(c, tmp_path)
    for key in ("victim__dataset", "steal__pool"):  # these are never left out
        with pytest.raises(UserError, match="stl10.*is not in"):
            resolve(
                tiny.config(probe__skip_missing=True, **(names | {key: "stl10"})),
                workdir,
            )


def test_probe_on_a_set_of_another_form(report, workdir, tmp_path):
    # Catches a form that stays in the config, and a victim trained anew because a
    # form was spelt out that its images have already.
    random = np.random.RandomState(0)
    for split in ("train", "test"):
        for name in ("dark", "light"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(30):
                image = random.randint(0, 100, (20, 24, 3)) + 150 * (name == "light")
                path = tmp_path / "set" / split / name / f"{i}.png"
                Image.fromarray(image.astype(np.uint8)).save(path)
    own = f"folder:{tmp_path / 'set'}"
    with pytest.raises(UserError, match="images of shape .20, 24, 3.*data.size"):
        resolve(tiny.config(probe__datasets=(own,)), workdir)
    names = {"probe__datasets": (own,), "data__size": 12, "data__channels": 1}
    c = tiny.config(stages=("probe", "report"), **names)
    whole = resolve(tiny.config(), workdir)
    assert resolve(c, workdir).members[0].victim == whole.members[0].victim
    found = read(run(c, workdir))
    rows = {(r["role"], r["evaluator"]): r for r in found["rows"]}
    assert rows["pixels", "linear"]["accuracy"] == 1.0
    assert rows["victim", "linear"]["n_test"] == 60


def test_victim_images_are_not_for_the_attacker(workdir):
    # Catches a held-out part that overlaps what the victim trained on, by row or by
    # digit.
    ids = data.ids("digits", "train")
    kept, out = divide(ids, 1 / 3, 0)
    assert (len(kept), len(out)) == (2700, 1350)
    assert set(ids[kept]).isdisjoint(ids[out])
    assert sorted([*kept, *out]) == list(range(4050))
    assert set(ids).isdisjoint(data.ids("digits", "test"))


@pytest.mark.slow
def test_projection_narrower_stealer_bfloat16(workdir):
    # Catches a service that answers with representations whatever is asked, a stealer
    # whose width must equal the answers', a precision that does not reach every part.
    c = tiny.config(
        service__output="projection",
        steal__encoder_kw__conv3__width=4,
        precision="bfloat16",
        stages=("victim", "steal"),
        victim__steps=2,
        victim__watch_every=0,
        steal__steps=2,
    )
    assert run(c, workdir) is None
    experiment = resolve(c, workdir)
    _, images, _, answers = answered(experiment.thefts[0].responses, experiment.context)
    victim = sslx.open_run(experiment.members[0].victim.path)
    assert answers.shape == (300, 1, 128) and answers.dtype == np.float32
    assert victim.meta["encoder"]["kw"]["dtype"] == "bfloat16"
    want = victim.embed(images, output="projection")
    np.testing.assert_allclose(answers[:, 0], want, atol=1e-5)
    stolen = sslx.open_run(experiment.thefts[0].steal.path)
    assert stolen.embed(images[:2]).shape == (2, 16)


def test_pool_from_the_test_split(workdir):
    # Catches figures on images that were for sale.
    c = tiny.config(steal__pool="test", steal__test_kept=0.25)
    found = read(run(c, workdir))
    assert {row["n_test"] for row in found["rows"]} == {336}  # 112 digits of 447
    ids = data.ids("digits", "test")
    sold, kept = divide(ids, 0.25, 0)
    assert len(sold) == 1341 - 336 and set(ids[sold]).isdisjoint(ids[kept])
    images = data.load("digits", "test").images
    experiment = resolve(c, workdir)
    recipe = experiment.thefts[0].responses.recipe
    assert np.array_equal(pool(recipe, experiment.context).load(), images[sold])
    (gallery,) = (run for run in experiment.probes if run.stage == "gallery")
    shown = np.load(gallery.path / "gallery.npz")["images"]
    assert {i.tobytes() for i in shown} == {i.tobytes() for i in images[kept]}


def test_last_test_images_are_kept(tmp_path, monkeypatch):
    # Catches the study's division (the last images of the test split) drawn by lot, and
    # a probe that cannot do without a seed.
    asked = {}

    def linear(train, labels, test, **settings):
        asked.update(settings, test=test)
        raise InterruptedError

    monkeypatch.setattr(probe_stage, "linear_probe", linear)
    changes = {"steal__pool": "test", "steal__test_kept": 0.25}
    c = tiny.config(data__split_seed=None, **changes)
    found = resolve(c, tmp_path)
    assert (
        found.members[0].victim
        != resolve(tiny.config(**changes), tmp_path).members[0].victim
    )
    pixels = next(run for run in found.probes if run.name.startswith("pixels"))
    with pytest.raises(InterruptedError):
        probe_stage._evaluate(pixels, found.context)
    assert asked["seed"] == 0
    ids = data.ids("digits", "test")
    last = np.isin(ids, np.unique(ids)[-112:])
    images = data.load("digits", "test").images[last]
    want = images.reshape(len(images), -1).astype(np.float32) / 255
    np.testing.assert_array_equal(asked["test"], want)


def test_another_set_as_pool(workdir, tmp_path):
    # Catches a pool that is always the victim's own data.
    train = data.load("digits", "test")
    np.savez(
        tmp_path / "own.npz",
        train_images=255 - train.images[:100],
        train_labels=train.labels[:100],
        test_images=train.images[:10],
        test_labels=train.labels[:10],
    )
    name = f"npz:{tmp_path / 'own.npz'}"
    c = tiny.config(steal__pool=name, steal__queries=100, stages=("victim", "steal"))
    run(c, workdir)
    found = resolve(c, workdir)
    images = answered(found.thefts[0].responses, found.context).images
    assert {i.tobytes() for i in images} == {
        i.tobytes() for i in 255 - train.images[:100]
    }


def test_a_victim_without_a_theft(workdir, tmp_path):
    # Catches an evaluation that needs a theft, or that runs one.
    c = tiny.config(stages=("victim", "probe", "report"))
    folder = run(c, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "victim",
        "features",
        "probe",
        "fidelity",
        "gallery",
        "report",
    }
    found = read(folder)
    assert tiny.roles(found) == ["victim", "untrained", "untrained", "pixels"]
    assert (found["headline"], found["counters"]) == (None, {})
    text = (folder / "report.md").read_text()
    assert "Evaluation of a simclr encoder" in text
    page = (folder / "report.html").read_text()
    for words in ("Stolen", "<h2>Bill</h2>", "stolen encoder"):
        assert words not in text + page
    assert not (folder / "map-stolen.png").exists()
    # Probes of what a theft has been made of are still those of the theft.
    assert resolve(tiny.config(stages=("probe", "report")), workdir).thefts
