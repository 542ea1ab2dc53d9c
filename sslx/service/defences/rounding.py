"""Answers on a grid."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.units import moves, unit


def rounded(*, step: float) -> Defence:
    """Each number to the nearest multiple of ``step`` deviations, halves to even.

    It draws nothing. Images a grey value apart fall to either side of a step, so that
    the mean of many tells what lies between.
    """
    moves("round", "step", step)

    def apply(state: State, request: Request):
        assert request.calibration is not None
        raw = request.raw.astype(np.float64)
        grid = step * request.calibration.deviation.astype(np.float64)
        to = np.where(grid > 0, grid, 1)  # a number that never moves stays as it is
        answers = np.where(grid > 0, np.round(raw / to) * to, raw)
        return answers, state, None, {}

    return Defence(lambda dim, key: {}, apply, wants={"calibration"})


def round_reference() -> Defence:
    """RDA's: answers of length 1, rounded to one decimal.

    Of 512 numbers a quarter is not 0 then. Absolute (exempt from "scaling").

    Source: the code of Wu et al. 2024 (RDA).
    """

    def apply(state: State, request: Request):
        return np.round(unit(request.raw), 1), state, None, {}

    return Defence(lambda dim, key: {}, apply, exempt={"scaling"}, units=False)
