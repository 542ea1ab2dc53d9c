"""A defence in an experiment: the width it gives, and what it may not want."""

from functools import partial

import numpy as np
import pytest

from sslx.embed.finished import open_run
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.queries.plan import make_plan
from sslx.service import DEFENCES, Defence, read_notes
from sslx.service.bills import LEDGER
from sslx.stages.answers import answered
from sslx.types import UserError
from tests import tiny

PADDED = Defence(
    init=lambda dim, key: {},
    apply=lambda state, request: (
        np.pad(request.raw, [(0, 0), (0, 3)], constant_values=request.keys[0, 0] % 7),
        state,
        None,
        {},
    ),
    out_dim=lambda dim: dim + 3,
    wants={"secret"},
)


OWN = {"steal__loss": "own"}  # of attacks that take no other


def answers_recipe(tmp_path, **changes):
    (theft,) = resolve(tiny.config(**changes), tmp_path).thefts
    return theft.responses.recipe


def test_answers_are_as_wide_as_the_defence_makes_them(tmp_path, monkeypatch):
    # A stealer built for the victim's width, a service that takes answers of the
    # defended width from the victim, or another name for runs without a defence.
    monkeypatch.setitem(DEFENCES, "padded", lambda: PADDED)
    plain = answers_recipe(tmp_path)
    wide = answers_recipe(tmp_path, service__defence="padded")
    assert wide["dim"] == plain["dim"] + 3 and wide["raw_dim"] == plain["dim"]
    assert "raw_dim" not in plain


def test_what_a_run_does_not_have_is_said_before_the_victim(tmp_path, monkeypatch):
    # A victim trained for days before its defence is found to want a calibration.
    wanting = PADDED._replace(wants={"secret", "calibration"})
    monkeypatch.setitem(DEFENCES, "wanting", lambda: wanting)
    with pytest.raises(
        UserError, match="^service.defence='wanting' measures the victim's answers"
    ):
        answers_recipe(tmp_path, service__defence="wanting")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defence": "saliency", "output": "label"}, "wants the victim's gradient"),
        ({"defence": "saliency_reference", "output": "probabilities"}, "gradient"),
        ({"defence": ("proof_of_work", "saliency")}, "measures the victim's answers"),
        ({"defence": "proof_of_work", "call_size": 257}, "call_size lets 256 be asked"),
        ({"defence": "saliency+proof_of_work", "call_size": 9000}, "asks 9000 new"),
        ({"defence": "saliency", "defence_kw.saliency.blur": 2.0}, "blur is a share"),
        ({"defence": "saliency", "defence_kw.saliency.blur": 0.0}, "must be above 0"),
        ({"defence": "saliency", "defence_kw.saliency.blur": 0.02}, "changes none"),
        ({"defence": "proof_of_work", "defence_kw.proof_of_work.most": 9.0}, "most"),
        ({"defence": "noise+noise"}, "^service.defence names one twice: noise.noise"),
        ({"defence": "noise", "defence_kw.noise.sd": -1.0}, "^service.defence_kw.noi"),
    ],
)
def test_what_does_not_fit_is_said_before_the_victim(tmp_path, changes, message):
    # A victim trained for days before the program finds that its calls are too large,
    # or that a gradient is of a classifier.
    attack = {"label": "label_theft", "probabilities": "knockoff"}
    steal = {"steal__attack": attack.get(changes.get("output"), "direct")}
    changes = {f"service.{key}".replace(".", "__"): v for key, v in changes.items()}
    changes |= steal | ({} if steal["steal__attack"] == "direct" else OWN)
    if "measures" not in message:
        changes["service__calibration__images"] = 40
    with pytest.raises(UserError, match=message) as error:
        answers_recipe(tmp_path, **changes)
    assert "\n" not in str(error.value)


def test_a_function_has_no_gradient(tmp_path, monkeypatch):
    # A refusal only when the first call is answered.
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_function.py").write_text(
        "def f(x):\n    return x.reshape(len(x), -1)[:, :5].astype('float32')\n"
    )
    changes = {"victim__source": "python:their_function:f"}
    with pytest.raises(UserError, match="wants the victim's gradient.*no API's"):
        answers_recipe(tmp_path, service__defence="saliency", **changes)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["representation", "projection"])
def test_the_gradient_is_that_of_the_own_victim(tmp_path, output):
    # A mask of other weights or of another output; a bill without the hashes.
    changes = {
        "service__defence": "saliency+proof_of_work",
        "service__calibration__images": 40,
        "service__output": output,
    }
    config = tiny.config(stages=("victim", "steal"), **changes)
    launch(config, tmp_path)
    found = resolve(config, tmp_path)
    run = found.thefts[0].responses
    got = answered(run, found.context)
    victim = open_run(run.parents["victim"].path)
    gradient = partial(victim.gradient, output=output)
    images = got.asked[:, 0]
    shown = DEFENCES["saliency"](blur=0.1).before({}, images, gradient)
    assert 0.1 < (shown != images).any(axis=3).mean() < 0.9
    want = victim.embed(shown, output)
    off = np.abs(got.answers[:, 0] - want).max(axis=1)
    # A pixel at the very mean may fall to either side in other company.
    assert np.mean(off < 1e-4 * np.abs(want).max()) > 0.98
    assert not np.allclose(victim.embed(images, output), want, rtol=1e-2)
    plan = make_plan(run.recipe)
    calls = [call.name for call in plan.calls]
    notes = read_notes(run.path / LEDGER, plan.accounts[0], calls)
    assert len(notes["hashes"]) == 300 and min(notes["hashes"]) >= 2**15.9
