import json
import shutil
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.build import make_objective, make_theft
from sslx.cli.inspect import look
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.rng import stream
from sslx.runs.names import make_run, with_ancestors
from sslx.stages import features
from sslx.stages.training import make_training
from sslx.types import UserError
from tests import tiny

GRID = (
    ("steal.loss=mse", "steal.attack=ssl_only steal.loss=own"),
    ("steal.queries=90", "steal.queries=300"),
    ("steal.seed=0", "steal.seed=1"),
)


def config(grid=GRID, **changes):
    return tiny.config(
        study__grid=grid, steal__ssl__steps=12, steal__ssl__augment="mild", **changes
    )


def test_what_is_shared(tmp_path):
    # Catches victims, answers or features made anew for each combination, a seed that
    # reaches the victim or does not reach the queries, thefts without queries that
    # differ by budget.
    found = resolve(config(), tmp_path)
    runs = with_ancestors(found.goals)
    count = Counter(run.stage for run in runs)
    # 2 budgets and 2 seeds by mse, and 2 seeds of what asks nothing.
    assert count == {
        "victim": 1,
        "responses": 4,
        "steal": 6,
        "features": 10,  # and of the victim, its network untrained twice, pixels
        "probe": 10,
        "fidelity": 8,
        "gallery": 1,  # of the headline
    }
    reported = {run.key for run in with_ancestors([found.report])}
    assert reported == {run.key for run in [*runs, found.report]}
    seeds = {
        (run.recipe["seed"], run.parents["responses"].recipe["seed"])
        for run in runs
        if "responses" in run.parents
    }
    assert seeds == {(0, 0), (1, 1)}


def test_what_the_attacker_trains_is_its_own(tmp_path):
    # Catches a stealer who starts from the victim's own weights, because both have one
    # seed: with few queries that is worth ten points.
    grid = (("steal.attack=ssl_only steal.loss=own", "steal.loss=mse"),)
    alone, asking = resolve(config(grid), tmp_path).members
    ssl, steal = alone.theft.steal, asking.theft.steal
    mse = make_theft(steal.recipe, 32, 0, match=lambda *_: (jnp.zeros(()), {}))
    runs = (
        (alone.victim, make_objective(alone.victim.recipe)),
        (ssl, make_objective(ssl.recipe)),
        (steal, mse),
    )
    images = jnp.zeros((2, 12, 12, 1), jnp.uint8)
    batch = {
        "images": images,
        "asked": images[:, None],
        "answers": jnp.zeros((2, 1, 32)),
    }
    starts = []
    for run, objective in runs:
        assert run.recipe["seed"] == 0
        key = stream(make_training(run, objective, {}).seed, "init")
        starts.append(jax.tree.leaves(objective.init(key, batch)[0]["encoder"]))
    for own in starts[1:]:
        for a, b in zip(starts[0], own, strict=True):
            assert a.shape == b.shape and (a.ndim == 1 or not np.allclose(a, b))


def test_what_is_wrong_names_its_combination(tmp_path):
    # Catches an error that leaves the user to guess which of the cells it means.
    for grid, message in (
        ((("steal.loss=mse", "steal.loss=mes"),), "'steal.loss=mes': unknown loss"),
        ((("steal.seed=-1",),), "'steal.seed=-1': steal.seed must be 0 or more"),
        ((("engine.keep=1",),), "is not KEY=VALUE with a whole key"),
    ):
        with pytest.raises(UserError, match=message):
            resolve(config(grid), tmp_path)
    with pytest.raises(UserError, match="study.name must be of letters"):
        resolve(config(study__name="a/b"), tmp_path)


def test_one_combination_is_not_named(tmp_path):
    # Catches an error that speaks of a grid where there is none.
    with pytest.raises(UserError, match="^unknown loss 'mes'"):
        resolve(config((), steal__loss="mes"), tmp_path)


def test_a_study_of_victims(tmp_path):
    # Catches a study that steals though its stages say otherwise, or refuses to be.
    grid = (("victim.objective=simclr", "victim.objective=barlow"),)
    found = resolve(config(grid, stages=("victim", "probe", "report")), tmp_path)
    assert [m.victim.recipe["objective"] for m in found.members] == ["simclr", "barlow"]
    assert [m.changes for m in found.members] == [
        {"victim.objective": "simclr"},
        {"victim.objective": "barlow"},
    ]
    assert found.thefts == []
    stages = {run.stage for run in found.goals}
    assert stages == {"victim", "probe", "fidelity", "gallery"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, experiment):
    """The report of a study in a workdir that has its victim and a theft already."""
    workdir = tmp_path_factory.mktemp("study") / "checkpoints"
    shutil.copytree(experiment, workdir)
    grid = (GRID[0], ("steal.queries=300",), GRID[2])
    c = config(grid, probe__few_labels=(0.1,), probe__reference=True)
    return launch(c, workdir), workdir, c


@pytest.mark.slow
def test_report_of_a_study(finished):
    # Catches a report that misses combinations or mixes seeds, or thefts beside the
    # wrong victim.
    folder, workdir, _ = finished
    found = json.loads((folder / "results.json").read_text())
    rows = {}
    for row in found["rows"]:
        rows.setdefault((row["role"], row["theft"]), {})[row["evaluator"]] = row
    assert set(rows) == {
        ("victim", None),
        ("stolen", "mse"),
        ("alone", "pool"),
        ("untrained", "batch"),
        ("untrained", "initial"),
        ("pixels", None),
    }
    stolen = rows["stolen", "mse"]
    linear = stolen["linear"]
    assert (linear["queries"], linear["runs"], linear["seeds"]) == (300, 2, [0, 1])
    assert linear["varies"] == "2 stealer seeds, one victim"
    accuracies = []
    for run in sorted((workdir / "steal").glob("direct-mse-*-300q-*")):
        (features,) = [
            path.parent
            for path in (workdir / "features").glob("*/meta.json")
            if json.loads(path.read_text())["parents"]
            == {"encoder": f"steal/{run.name}"}
        ]
        for path in (workdir / "probe").glob("*/meta.json"):
            meta = json.loads(path.read_text())
            if meta["parents"] == {"features": f"features/{features.name}"}:
                by = {r["evaluator"]: r["accuracy"] for r in meta["results"]}
                if "reference_probe" in by:
                    accuracies.append(by["linear"])
    assert len(accuracies) == 2
    assert linear["accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert set(stolen) == {"linear", "linear_0.1", "knn", "reference_probe"}


@pytest.mark.slow
def test_features_that_are_lost_or_damaged(finished, tmp_path, capsys):
    # Catches figures of a damaged file, a run that ends on one, and files that are
    # wanted although they were not to be kept.
    _, workdir, c = finished
    found = resolve(c, workdir)
    run, context = found.probes[0].parents["features"], found.context
    want = features.load(run, "test", context)
    again = make_run(tmp_path, "features", "again", run.recipe, run.parents)
    c = c.copy_and_resolve_references().unlock()
    c.engine.keep_features = False
    features.make(again, resolve(c, workdir).context)
    assert not list(again.path.glob("*.npy"))
    np.testing.assert_array_equal(features.load(again, "test", context), want)
    copy = shutil.copytree(run.path, tmp_path / "features" / run.name)
    content = bytearray((copy / "test.npy").read_bytes())
    content[-1] ^= 1
    (copy / "test.npy").write_bytes(content)
    damaged = run._replace(workdir=tmp_path)
    np.testing.assert_array_equal(features.load(damaged, "test", context), want)
    assert "test.npy is damaged; its features are" in capsys.readouterr().err
    facts = look(copy)
    assert facts["features"]["problem"] == "damaged: test"
    assert facts["features"]["train"] == "4050x32"
    # By each batch's own statistics: other features, and those of the rows alone.
    rows = np.arange(5, 75)
    some = features.by_batch_statistics(run, "test", 64, context, rows)
    assert some.shape == (70, 32) and not np.allclose(some, want[rows], atol=1e-3)
    first = features.by_batch_statistics(run, "test", 64, context, rows[:64])
    np.testing.assert_allclose(some[:64], first, atol=1e-5)


@pytest.mark.slow
def test_a_finished_study_is_only_shown(finished, capsys):
    # Catches work done twice, and a table that is printed only the first time.
    folder, workdir, c = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("meta.json")}
    assert launch(c, workdir) == folder
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("meta.json")} == before
    assert "pool" in capsys.readouterr().out
