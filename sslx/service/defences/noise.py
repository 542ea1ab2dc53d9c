"""Noise on every answer."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.units import moves, normal, unit


def noise(*, sd: float) -> Defence:
    """Normal noise of ``sd`` deviations of each number.

    What an image gets follows from the service's secret, the account and its content:
    asked again it gets the same answer, or with ``service.repeats="fresh"`` another
    draw, whose mean over m repeats is 1/sqrt(m) as noisy. The note is ``sd``.
    """
    moves("noise", "sd", sd)

    def apply(state: State, request: Request):
        assert request.calibration is not None and request.keys is not None
        scale = sd * request.calibration.deviation.astype(np.float64)
        answers = request.raw + scale * normal(request.keys, request.raw.shape[1])
        return answers, state, None, {"noise": np.full(len(answers), float(sd))}

    return Defence(lambda dim, key: {}, apply, wants={"secret", "calibration"})


def noise_reference() -> Defence:
    """The study's: normal noise of mean 5 and deviation 0.5, whatever the features are.

    Its defects are kept: the mean is the same for all answers and goes with theirs, and
    the deviation is absolute, so that the scale of the features decides what it does
    (exempt from "scaling"). The study draws anew in each epoch; here repeats decide.

    Source: the code of Dziedzic et al. 2022.
    """

    def apply(state: State, request: Request):
        assert request.keys is not None
        noise = normal(request.keys, request.raw.shape[1])
        return request.raw + 5 + 0.5 * noise, state, None, {}

    return Defence(
        lambda dim, key: {}, apply, wants={"secret"}, exempt={"scaling"}, units=False
    )


def unit_noise_reference() -> Defence:
    """RDA's: answers of length 1 and normal noise of deviation 0.5 on each number.

    Of 512 numbers a noisy answer has a cosine of 0.09 with the clean one: nothing is
    left of it, and ten views of an image bring it back to 0.27. The length goes too, so
    a factor changes nothing where a factor belongs (exempt from "scaling").

    Source: the code of Wu et al. 2024 (RDA).
    """

    def apply(state: State, request: Request):
        assert request.keys is not None
        noise = normal(request.keys, request.raw.shape[1])
        return unit(request.raw) + 0.5 * noise, state, None, {}

    return Defence(
        lambda dim, key: {}, apply, wants={"secret"}, exempt={"scaling"}, units=False
    )
