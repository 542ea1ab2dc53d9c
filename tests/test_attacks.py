"""All attacks through all stages, and what they are billed for."""

import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

import sslx
from configs import digits_attack
from sslx.cli.inspect import look
from sslx.cli.inspect_text import as_text
from sslx.data.views import make_asked
from sslx.embed import finished
from sslx.experiment.graph import resolve
from sslx.program import run
from sslx.runs.names import with_ancestors
from sslx.service import read_answers, read_counters
from sslx.service.bills import LEDGER
from sslx.stages.answers import answered
from sslx.types import UserError
from tests import tiny

pytestmark = pytest.mark.slow  # quick: a step of each, experiment/test_thefts.py

# Forty queries of each; as few steps as show that a stage works.
SMALL = {
    "victim__steps": 4,
    "steal__steps": 2,
    "steal__queries": 40,
    "steal__ssl__steps": 2,
    "steal__ssl__batch_size": 32,
    "steal__head__steps": 2,
    "steal__batch_size": 8,
    "service__call_size": 16,
    "probe__l2_grid": (1e-1,),
    "probe__tolerance": 1e-2,
    "service__classifier__l2_grid": (1e-1,),
    "steal__attack_kw__symmetrized__hidden": 16,
    "steal__attack_kw__symmetrized__predictor": 8,
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """An experiment with every attack: (its config, report, images the victim saw)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (axis,) = digits_attack.get_config().study.grid
    axis = tuple(re.sub(r" \S*passes=\d+", "", change) for change in axis)
    c = tiny.config(study__grid=(axis,), **SMALL)
    seen = Counter()
    real = finished._embed_of

    def counted(path, meta, output):
        embed = real(path, meta, output)

        def counting(images):
            seen[output] += len(images)
            return embed(images)

        return counting if meta["stage"] == "victim" else embed

    def stages(*names):
        part = c.copy_and_resolve_references()
        part.stages = names
        return run(part, folder)

    stages("victim")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finished, "_embed_of", counted)
        stages("steal")
    return c, stages("probe", "report"), seen


def test_an_independent_count_of_every_attack(everything):
    # Catches images that the victim sees and nobody pays for, or the other way round.
    c, report, seen = everything
    found = json.loads((report / "results.json").read_text())
    experiment = resolve(c, report.parents[1])
    billed, asked = Counter(), set()
    assert len(experiment.thefts) == len(digits_attack.ATTACKS)
    records = {r["run"]: r for r in found["records"] if r["cell"]}
    assert set(records) == {theft.steal.key for theft in experiment.thefts}
    for theft in experiment.thefts:
        record = records[theft.steal.key]
        if theft.attack == "ssl_only":
            assert (record["accounts"], record["queries"]) == ({}, 0)
            assert record["cell"] not in found["counters"]
            continue
        counters = tiny.bill(found, record["cell"])
        assert record["accounts"] == {"attacker": counters}
        assert counters["images"] == counters["unique_images"] == 40
        if theft.responses.name not in asked:  # thefts that ask the same share a bill
            asked.add(theft.responses.name)
            billed[theft.responses.recipe["output"]] += counters["images"]
    assert set(billed) == {"representation", "projection", "probabilities", "label"}
    assert seen["projection"] == billed["projection"]
    # Probabilities and labels come from the representation, on which the provider has
    # fitted a classifier once, with images of his own.
    (classifier,) = (report.parents[1] / "classifier").iterdir()
    own = json.loads((classifier / "meta.json").read_text())["images"]
    assert seen.total() == billed.total() + own


def test_the_report_of_every_attack(everything):
    # Catches an attack that the table, the page or a picture cannot show.
    _, report, _ = everything
    text, page = ((report / f"report.{end}").read_text() for end in ("md", "html"))
    for attack in (
        "rda",
        "asked",
        "recreate_head infonce",
        "cont_steal",
        "knockoff",
    ):
        role = "alone" if attack == "asked" else "stolen"  # which asks nobody
        assert f"| {role} | {attack}" in text and attack in page
    found = json.loads((report / "results.json").read_text())
    (head,) = (
        r
        for r in found["rows"]
        if r["cell"] == found["headline"] and r["evaluator"] == found["primary"]
    )
    told = (head["role"], head["attack"], head["loss"])
    assert told == ("stolen", "stolen_encoder", "own")
    assert set(found["counters"][found["headline"]][0]["accounts"]) == {"attacker"}


def test_every_run_can_be_inspected(everything):
    # Catches a kind of run that is shown as damaged, or without its data.
    _, report, _ = everything
    workdir = report.parents[1]
    for path in (*workdir.glob("steal/*"), *workdir.glob("classifier/*")):
        parts = look(path).get("weights", {}).values()
        assert [part["problem"] for part in parts] == [None] * len(parts), path
        assert ("steal" in str(path)) == bool(parts)
    for path in workdir.glob("responses/*"):
        facts = look(path)["what"]
        assert (facts["data"], facts["plan"]) == ("digits", "random")
    text = as_text(look(workdir))
    assert "recreate_head-head-40q" in text and "! " not in text


def test_the_views_that_were_asked_can_be_made_again(everything):
    # Catches a view whose key depends on the call, the batch or the machine's devices.
    c, report, _ = everything
    experiment = resolve(c, report.parents[1])
    (theft,) = (theft for theft in experiment.thefts if theft.attack == "rda")
    found = answered(theft.responses, experiment.context)
    assert found.asked.shape[:2] == found.answers.shape[:2] == (4, 10)
    flat = [view.tobytes() for view in found.asked.reshape(40, -1)]
    assert len(set(flat)) == 40
    pool = np.zeros((1350, *found.images.shape[1:]), np.uint8)
    pool[found.rows] = found.images
    backwards = make_asked(pool, found.rows[::-1], theft.responses.recipe)
    assert (backwards.reshape(found.asked.shape) == found.asked[::-1]).all()
    moved = np.abs(found.asked.astype(int) - found.images[:, None]).mean((1, 2, 3, 4))
    assert (moved > 1).all()


def test_the_victim_is_not_needed_once_it_has_answered(everything, tmp_path):
    # Catches a stealer that looks at the victim behind the service's back.
    c, report, _ = everything
    workdir = report.parents[1]
    for stage in ("responses", "steal"):
        shutil.copytree(workdir / stage, tmp_path / stage)
    before = resolve(c, tmp_path)
    for run_ in with_ancestors(theft.steal for theft in before.thefts):
        if run_.stage == "steal":  # all thefts anew, from the answers alone
            shutil.rmtree(run_.path, ignore_errors=True)
    again = c.copy_and_resolve_references()
    again.stages = ("steal",)
    run(again, tmp_path)
    assert not (tmp_path / "victim").exists()
    for theft in before.thefts:
        assert json.loads((theft.steal.path / "meta.json").read_text())["finished"]


ROUNDS = {
    "steal__plan": "kmeans",
    "steal__plan_kw__kmeans__clusters": 8,
    "steal__rounds": 3,
    "steal__accounts": 2,
    "steal__ask_views": 2,
    "steal__ask_augment": "mild",
}


def test_rounds_and_accounts(everything, tmp_path):
    # Catches a round that asks what an earlier one did, a call on the wrong account,
    # and a choice that ignores what was answered.
    _, report, _ = everything
    shutil.copytree(report.parents[1] / "victim", tmp_path / "victim")
    c = tiny.config(**SMALL, **ROUNDS)
    folder = run(c, tmp_path)
    found = json.loads((folder / "results.json").read_text())
    ((counted,),) = found["counters"].values()
    accounts = counted["accounts"]
    sent = {name: (a["images"], a["calls"]) for name, a in accounts.items()}
    assert sent == {"attacker1": (26, 2), "attacker2": (14, 1)}
    experiment = resolve(c, tmp_path)
    responses = experiment.thefts[0].responses
    data = answered(responses, experiment.context)
    assert len(set(data.rows.tolist())) == 20
    for account, own in accounts.items():
        counters = read_counters(responses.path / LEDGER, account)
        assert counters.images == own["images"]
    # Each answer is the victim's to the view beside it.
    victim = sslx.open_run(responses.parents["victim"].path)
    flat = data.asked.reshape(40, *data.asked.shape[2:])
    np.testing.assert_allclose(
        victim.embed(flat), data.answers.reshape(40, -1), rtol=1e-4, atol=1e-5
    )
    other = tiny.config(**SMALL, **ROUNDS | {"steal__plan_ridge": 10.0})
    run(other, tmp_path)
    again = resolve(other, tmp_path)
    rows = answered(again.thefts[0].responses, again.context).rows
    assert (rows[:7] == data.rows[:7]).all() and (rows[7:] != data.rows[7:]).any()


def test_a_plan_that_was_lost_is_one_line(everything, tmp_path):
    # Catches a theft on rows chosen anew, which may not be those that were asked.
    c, report, _ = everything
    workdir = shutil.copytree(report.parents[1], tmp_path / "w")
    experiment = resolve(c, workdir)
    theft = experiment.thefts[0]
    (theft.responses.path / "plan-0.npy").write_bytes(b"")
    with pytest.raises(UserError, match="plan-0.npy is missing or damaged.*ask again"):
        answered(theft.responses, experiment.context)
    with pytest.raises(UserError, match="other images"):
        ledger = theft.responses.path / LEDGER
        images = np.zeros((16, *theft.steal.recipe["image_shape"]), np.uint8)
        read_answers(ledger, "attacker", ["0000000"], images)
