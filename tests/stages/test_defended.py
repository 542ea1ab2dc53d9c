"""A defence in an experiment: the width it gives, and what it may not want."""

import numpy as np
import pytest

from sslx.experiment.graph import resolve
from sslx.service import DEFENCES, Defence
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
