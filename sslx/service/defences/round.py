"""Every number of an answer rounded."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.numbers import check_strength


def rounded(*, step: float) -> Defence:
    """Numbers become the nearest multiple of a step, the even one of two as near.

    Of numbers that do not vary on the calibration set nothing is rounded. What is
    rounded twice is rounded once. The same image gets the same answer, so repeats buy
    nothing; many images that are nearly alike buy what lies between two steps.

    Args:
        step: In deviations of the calibration; above 0.

    Raises:
        UserError: It changes nothing.
    """
    check_strength("round", "step", step)

    def apply(state: State, request: Request):
        assert request.calibration is not None
        steps = step * request.calibration.deviation.astype(np.float64)
        whole = np.round(request.raw / np.where(steps > 0, steps, 1))
        answers = np.where(steps > 0, whole * steps, request.raw)
        return answers, state, None, {}

    return Defence(lambda dim, key: {}, apply, wants={"calibration"})
