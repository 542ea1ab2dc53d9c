import base64
import io
import json
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import sslx
from sslx import data
from sslx.experiment.graph import resolve
from sslx.experiment.pools import pool_of
from sslx.program import run
from sslx.report import gallery, page, pictures
from sslx.stages import probe as probe_stage
from sslx.stages import victim as victim_stage
from sslx.stages.answers import answered
from sslx.types import UserError
from tests import tiny


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
    also = ("loss=infonce", "queries=90")
    return run(tiny.config(also=also), workdir)


def read(folder, name="results.json"):
    return json.loads((folder / name).read_text())


def test_results(report):
    # Catches a row left out, intervals off, a budget that is not exact, times among
    # the counters.
    found = read(report)
    rows = {(r["encoder"], r["evaluator"]): r for r in found["accuracies"]}
    assert set(rows) == {
        (e, v)
        for e in ("victim", "stolen", "random", "pixels")
        for v in ("linear", "knn")
    }
    assert len(found["accuracies"]) == 8
    for row in found["accuracies"]:
        low, high = row["interval"]
        assert 0 <= low < row["accuracy"] < high <= 1
        assert (row["dataset"], row["n_test"], row["seed"]) == ("digits", 1341, 0)
    assert found["queries"] == {
        "unique_images": 300,
        "images": 300,
        "calls": 5,
        "values": 300 * 32,
        "limit": 300,
        "cost": 0.3,
    }
    cells = [(c["loss"], c["budget"], c["queries"]["images"]) for c in found["sweep"]]
    assert cells == [("mse", 300, 300), ("infonce", 300, 300), ("mse", 90, 90)]


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
        "report",
    }
    counts = {stage: len(names) for stage, names in stages.items()}
    assert counts == {
        "victim": 1,
        "responses": 2,
        "steal": 3,
        "features": 6,
        "probe": 6,
        "fidelity": 4,
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


class Page(HTMLParser):
    """What a page holds: its text, its links, its pictures; complains of lost tags."""

    def __init__(self, source):
        super().__init__()
        self.open, self.text, self.links, self.images = [], "", [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        found = dict(attrs)
        self.links += [found[key] for key in ("src", "href", "srcset") if key in found]
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += f"{text} "


def test_page(report):
    # Catches a page that asks another host, a picture that is none or says nothing to
    # who cannot see it, a figure left out.
    source = (report / "report.html").read_text("utf-8")
    assert len(source) < 5e6
    found = Page(source)
    assert len(found.images) == 5 + 8 * 11  # charts and maps; neighbours
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
    for row in [r for c in figures["sweep"] for r in c["accuracies"]] + figures[
        "accuracies"
    ]:
        for number in (row["accuracy"], *row["interval"]):
            assert any(f"{100 * number:.1f}" in word for word in words), row
        if row["evaluator"] == "linear":
            assert f"{row['l2']:g}" in words
    for cell in figures["sweep"]:
        assert cell["loss"] in words and str(cell["budget"]) in words
        assert all(str(n) in words for n in cell["queries"].values())
    meta = read(report, "meta.json")
    assert all(path in words for path in meta["parents"].values())


def test_the_same_runs_give_the_same_page(report, workdir, tmp_path):
    # Catches a date, a random id, a path of the machine, a map that differs each time.
    for stage in ("victim", "responses", "steal", "features", "probe", "fidelity"):
        shutil.copytree(workdir / stage, tmp_path / stage)
    also = ("loss=infonce", "queries=90")
    again = run(tiny.config(also=also, stages=("report",)), tmp_path)
    names = {p.name for p in report.glob("*.*")} - {"meta.json"}
    assert {"report.html", "report.md", "map-stolen.png"} <= names
    for name in names:
        assert (again / name).read_bytes() == (report / name).read_bytes(), name
    assert str(workdir) not in (report / "report.html").read_text("utf-8")


def test_names_are_text(report, workdir):
    # Catches a data set's name that is read as HTML or as a formula.
    c = tiny.config(also=("loss=infonce", "queries=90"))
    experiment = resolve(c, workdir)
    name = "npz:/in/<script>'\"&amp;$x_1$ $.npz"
    found = json.loads(
        (report / "results.json").read_text().replace('"digits"', json.dumps(name))
    )
    odd = "x=\"'<b>"
    found["sweep"][0]["change"] = odd
    shown = gallery.make(experiment, c)._replace(dataset=name)
    rows = [{"step": 1, "loss": 0.5}]
    curves = [("victim", []), *(("stealer", rows) for _ in found["sweep"])]
    drawn = pictures.draw(found, curves, [], shown)
    source = page.html(experiment, found | {"skipped": ["<i>"]}, drawn, [], shown)
    assert "<script" not in source and "<i>" not in source
    read_back = Page(source)
    assert read_back.text.count(name) == 3 and "<i> was not at hand" in read_back.text
    assert sum(odd in image["alt"] for image in read_back.images) >= 1
    page_without = page.html(experiment, found, drawn[:3], [], None)
    assert "Not shown: there are too few test images" in page_without


def touched(workdir):
    return {
        p.relative_to(workdir): p.stat().st_mtime_ns
        for p in workdir.rglob("*")
        if p.is_file()
    }


def test_again_changes_nothing(report, workdir, capsys):
    # Catches a finished stage that is done again.
    before = touched(workdir)
    assert run(tiny.config(also=("loss=infonce", "queries=90")), workdir) == report
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
            other.victim == base.victim,
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


def test_the_chain_is_linked(report, workdir):
    # Catches a stealer trained on other answers than the victim's to the images asked,
    # or with a query too many.
    c = tiny.config()
    experiment = resolve(c, workdir)
    cell = experiment.thefts[0]
    _, images, asked, answers = answered(cell, c)
    assert np.array_equal(asked, images[:, None])  # as they are, one view of each
    victim = sslx.open_run(experiment.members[0].victim.path)
    np.testing.assert_allclose(answers[:, 0], victim.embed(images), atol=1e-5)
    dataset, split, rows = pool_of(c, "held_out", 0.1)
    pool = {image.tobytes() for image in data.load(dataset, split).images[rows]}
    assert {image.tobytes() for image in images} <= pool
    steal = sslx.open_run(cell.steal.path)
    assert steal.parents["responses"] == cell.responses.path.resolve()
    assert len(steal.metrics) == 12
    assert steal.meta["finished"] and steal.meta["image_shape"] == [12, 12, 1]
    assert steal.embed(images[:3]).shape == (3, 32)


def test_victim_trains_on_its_own_images_only(tmp_path, monkeypatch):
    # Catches the worst leak: a victim trained on the pool, or on test images.
    seen = []
    monkeypatch.setattr(victim_stage, "fit", lambda t, *_: seen.append(t.data))
    monkeypatch.setattr(victim_stage.checkpoint, "seal", lambda path: {})
    c = tiny.config(stages=("victim",))
    run(c, tmp_path)
    own = {image.tobytes() for image in seen[0]["images"]}
    assert len(own) == 2700
    dataset, split, rows = pool_of(c, "held_out", 0.1)
    pool = data.load(dataset, split).images[rows]
    for others in (pool, data.load("digits", "test").images):
        assert own.isdisjoint(image.tobytes() for image in others)


ALSO = ("loss=infonce", "queries=90")


def test_probe_set_that_is_not_at_hand(report, workdir, tmp_path, capsys, monkeypatch):
    # Catches a report that keeps quiet about a set left out, one that is left out
    # though nobody allowed it, and an experiment without any figure.
    names = {"probe__datasets": ("stl10", "digits"), "data__dir": str(tmp_path)}
    c = tiny.config(also=ALSO, probe__skip_missing=True, **names)
    folder = run(c, workdir)
    assert folder != report  # the recipe knows
    found = read(folder)
    assert found["skipped"] == ["stl10"] and read(report)["skipped"] == []
    assert {row["dataset"] for row in found["accuracies"]} == {"digits"}
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
    assert (
        resolve(c, workdir).victim == resolve(tiny.config(), workdir).members[0].victim
    )
    found = read(run(c, workdir))
    rows = {(r["encoder"], r["evaluator"]): r for r in found["accuracies"]}
    assert rows["pixels", "linear"]["accuracy"] == 1.0
    assert rows["victim", "linear"]["n_test"] == 60


def test_victim_images_are_not_for_the_attacker(workdir):
    # Catches a held-out part that overlaps what the victim trained on, by row or by
    # digit.
    from sslx.data.splits import divide

    ids = data.ids("digits", "train")
    kept, out = divide(ids, 1 / 3, 0)
    assert (len(kept), len(out)) == (2700, 1350)
    assert set(ids[kept]).isdisjoint(ids[out])
    assert sorted([*kept, *out]) == list(range(4050))
    assert set(ids).isdisjoint(data.ids("digits", "test"))


def test_projection_narrower_stealer_bfloat16(workdir):
    # Catches a service that answers with representations whatever is asked, a stealer
    # whose width must equal the answers', a precision that does not reach every part.
    c = tiny.config(
        service__output="projection",
        steal__encoder_kw__conv3__width=4,
        precision="bfloat16",
        stages=("victim", "steal"),
    )
    assert run(c, workdir) is None
    experiment = resolve(c, workdir)
    _, images, _, answers = answered(experiment.thefts[0], c)
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
    assert {row["n_test"] for row in found["accuracies"]} == {336}  # 112 digits of 447
    _, split, rows = pool_of(c, "test", 0.25)
    assert split == "test" and len(rows) == 1341 - 336
    ids = data.ids("digits", "test")
    from sslx.data.splits import divide

    sold, kept = divide(ids, 0.25, 0)
    assert np.array_equal(sold, rows) and set(ids[sold]).isdisjoint(ids[kept])
    images = data.load("digits", "test").images
    shown = gallery.make(resolve(c, workdir), c)
    assert {i.tobytes() for i in shown.images} == {i.tobytes() for i in images[kept]}


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
    pixels = next(p for p in found.probes if p.encoder == "pixels")
    with pytest.raises(InterruptedError):
        probe_stage._evaluate(pixels.run, "digits", c)
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
    images = answered(resolve(c, workdir).thefts[0], c).images
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
        "report",
    }
    found = read(folder)
    assert [r["encoder"] for r in found["accuracies"][::2]] == [
        "victim",
        "random",
        "pixels",
    ]
    assert (found["queries"], found["sweep"]) == (None, [])
    text = (folder / "report.md").read_text()
    assert "Evaluation of a simclr encoder" in text
    page = (folder / "report.html").read_text()
    for words in ("Stolen", "<h2>Bill</h2>", "stolen encoder"):
        assert words not in text + page
    assert not (folder / "map-stolen.png").exists()
    # Probes of what a theft has been made of are still those of the theft.
    assert resolve(tiny.config(stages=("probe", "report")), workdir).thefts
