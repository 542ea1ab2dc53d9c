"""Runs that sslx 0.1.0 made (commit 85c8663): they open, and are taken as parents."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import sslx
from sslx import data
from sslx.cli.export import export
from sslx.cli.inspect import look
from sslx.experiment.graph import resolve
from sslx.program import run
from sslx.runs.files import is_finished
from sslx.runs.names import make_run
from sslx.types import UserError
from tests import tiny

ARCHIVE = Path(__file__).with_name("of_0.1.0.tar.xz")
SETTINGS = {"victim__steps": 4, "steal__steps": 4, "steal__queries": 32}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A victim, its answers and a stealer, with features that 0.1.0 computed."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("stage", ["victim", "steal"])
def test_they_open(workdir, tmp_path, stage):
    # Catches a renamed entry of meta.json, another way to rebuild an encoder.
    (path,) = (workdir / stage).iterdir()
    images = data.load("digits", "test").images[:8]
    with np.load(workdir / "features.npz") as known:
        features = sslx.open_run(path).embed(images)
        np.testing.assert_allclose(features, known[stage], rtol=1e-5, atol=1e-5)
    facts = look(path)
    assert facts["finished"] and facts["problem"] is None
    assert facts["weights"]["encoder"]["problem"] is None
    export(path, tmp_path / "encoder.safetensors")
    assert (tmp_path / "encoder.safetensors").stat().st_size > 1000


def test_the_bill_is_read(workdir):
    # Catches a ledger of another form.
    (path,) = (workdir / "responses").iterdir()
    ledger = look(path)["ledger"]
    assert (ledger["used"], ledger["left"], ledger.get("problem")) == (32, 0, None)


def test_they_are_taken_as_parents(workdir):
    # Catches a recipe that changed its form: the same run would be made anew beside.
    found = resolve(tiny.config(**SETTINGS), workdir)
    theft = found.thefts[0]
    assert all(
        map(is_finished, (found.members[0].victim, theft.responses, theft.steal))
    )


def test_a_new_theft_of_an_old_victim(workdir, tmp_path):
    # Catches answers that can no longer be read, or a victim trained a second time.
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    c = tiny.config(**SETTINGS, steal__loss="infonce", stages=("victim", "steal"))
    run(c, tmp_path)
    counts = {p.name: len(list(p.iterdir())) for p in tmp_path.iterdir() if p.is_dir()}
    assert counts == {"victim": 1, "responses": 1, "steal": 2}


def test_answers_under_an_old_name_are_not_paid_for_twice(tmp_path, monkeypatch):
    # Catches a run made anew in silence: 0.1.0 wrote the split's seed into the recipes
    # of pools that no split makes, and so named them otherwise.
    c = tiny.config(steal__pool="npz:other.npz", stages=("steal",))
    known = data.describe("digits")

    def marks(name, split, options=None):
        return 2 * np.arange(known.sizes[split]) + 10**6 * (split == "test") + len(name)

    monkeypatch.setattr(data, "find", lambda name, options=None: None)
    monkeypatch.setattr(
        data,
        "describe",
        lambda name, options=None: (
            known if name == "digits" else known._replace(identity={"npz": "x"})
        ),
    )
    monkeypatch.setattr(data, "marks", marks)
    theft = resolve(c, tmp_path).thefts[0]
    r = theft.responses.recipe
    assert r["split_seed"] is None
    slug, parents = theft.responses.name.rpartition("-")[0], theft.responses.parents
    old = make_run(tmp_path, "responses", slug, r | {"split_seed": 0}, parents)
    old.path.mkdir(parents=True)
    with pytest.raises(UserError, match="is of sslx 0.1"):
        resolve(c, tmp_path)
