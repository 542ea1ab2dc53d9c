"""scripts/ship.py: what a card says is of the run, and of its images."""

import json

import numpy as np
import pytest

import sslx
from scripts import ship
from sslx import data
from sslx.embed import shipped
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.runs.files import read_json
from sslx.types import UserError
from tests import tiny
from tests.experiment.test_separation import pictures, save
from tests.report import fake_study as fake


def report_of(workdir, *records):
    """A results.json of (role, run, accuracies)."""
    path = workdir / "report" / "mine" / "results.json"
    path.parent.mkdir(parents=True)
    told = [
        {
            "role": role,
            "run": fake.key(run),
            "dataset": "digits",
            "scores": {
                name: {"accuracy": a, "interval": [a - 0.1, a], "n_test": 9, "l2": 1}
                for name, a in found.items()
            },
        }
        for role, run, found in records
    ]
    path.write_text(json.dumps({"records": told}))
    return path


def brought(workdir, weights):
    recipe = {"origin": "weights", "shipped": "small", "weights": weights}
    return fake.finished(workdir, "victim", f"shipped-{weights}", recipe, {})


def test_accuracies_are_of_the_run(tmp_path):
    # Catches figures of another victim, seed or theft on the card; those of the weights
    # that were shipped, refused; an accuracy that one evaluator lacks.
    mine, other = fake.victim(tmp_path / "a", 0), fake.victim(tmp_path / "a", 1)
    same, unlike = (brought(tmp_path / "b", digest) for digest in ("1f", "2e"))
    found = {"linear": 0.7, "knn": 0.6}
    a = report_of(
        tmp_path / "a",
        *(("victim", mine, found), ("victim", other, {"linear": 0.9})),
        ("independent", mine, {"linear": 0.1}),
    )
    b = report_of(tmp_path / "b", ("victim", same, found), ("victim", unlike, found))
    wanted = [
        {"dataset": "digits", "evaluator": name, "accuracy": x}
        | {"interval": [x - 0.1, x], "n_test": 9}
        for name, x in found.items()
    ]
    assert ship.accuracies(a, mine.path, "1f") == wanted
    assert ship.accuracies(b, mine.path, "1f") == wanted
    for report, run, weights in (
        (b, mine.path, "3d"),
        (a, fake.victim(tmp_path / "c", 0).path, "1f"),  # of another workdir
        (a, unlike.path, "2e"),
    ):
        with pytest.raises(UserError, match="says nothing of .*; give the report"):
            ship.accuracies(report, run, weights)


@pytest.mark.parametrize("form", [{}, {"size": 8}, {"channels": 3}])
def test_images_are_read_as_the_run_read_them(form, tmp_path):
    # Catches marks of images in another form than the victim's, which no set has; a
    # split of another seed; another set of the name.
    own = save(tmp_path / "own.npz", pictures(60, 1), pictures(40, 2))
    options = data.Options(**form)
    info = data.describe(own, options)
    recipe = {"data": info.identity, "held_out": 0.2, "split_seed": 3}
    marks, seen = ship.unseen(own, recipe)
    assert (len(marks), seen) == (12, 48)
    assert set(marks) <= set(data.marks(own, "train", options).tolist())
    again = ship.unseen(own, recipe | {"split_seed": 4})[0]
    assert not np.array_equal(np.sort(marks), np.sort(again))
    other = save(tmp_path / "other.npz", pictures(60, 5), pictures(40, 2))
    with pytest.raises(UserError, match="is not the set that the run was trained on"):
        ship.unseen(other, recipe)


@pytest.mark.slow
def test_from_run_to_victim(tmp_path, monkeypatch):
    # Catches a card that its reader refuses, or that lacks what the run has noted.
    c = tiny.config(stages=("victim", "probe", "report"), victim__encoder="resnet18")
    c.victim.encoder_kw.resnet18.width, c.probe.l2_grid = 4, (0.1,)
    c.probe.independent = 0
    report = launch(c, tmp_path)
    (run,) = (tmp_path / "victim").iterdir()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    ship.ship(run, "small", "digits", "c0ffee", report / "results.json")
    card = sslx.victims()["small"]
    recipe = {"shipped": "small", "weights": card["weights"]}
    meta = read_json(run / "meta.json")
    wanted = {key: meta[key] for key in ("images", "passes", "flops")}
    assert shipped.trained(recipe) == wanted
    assert {row["evaluator"] for row in card["accuracies"]} >= {"linear", "knn"}
    c.victim.source, c.stages = "shipped:small", ("victim", "steal")
    (theft,) = resolve(c, tmp_path / "again").thefts
    assert theft.responses.parents["victim"].recipe["weights"] == card["weights"]


def test_a_report_is_needed(monkeypatch, capsys):
    # Catches a card without a figure.
    flags = ["ship.py", "run", "small", "--dataset", "d", "--commit", "c"]
    monkeypatch.setattr("sys.argv", flags)
    with pytest.raises(SystemExit):
        ship.main()
    assert "required: --report" in capsys.readouterr().err
