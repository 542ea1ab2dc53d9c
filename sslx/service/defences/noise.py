"""Noise on every answer."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.types import refuse_if


def _normal(request: Request) -> np.ndarray:
    """A draw for each number of each answer, by the image's key: float64 (n, d)."""
    assert request.keys is not None  # it is wanted
    width = request.raw.shape[1]
    draws = [np.random.default_rng(key).standard_normal(width) for key in request.keys]
    return np.stack(draws)


def noise(*, sd: float) -> Defence:
    """Normal noise of ``sd`` deviations of each number.

    What an image gets follows from the service's secret, the account and its content:
    asked again it gets the same answer, or with ``service.repeats="fresh"`` another
    draw, whose mean over m repeats is 1/sqrt(m) as noisy. The note is ``sd``.
    """
    moves("noise", "sd", sd)

    def apply(state: State, request: Request):
        assert request.calibration is not None
        scale = sd * request.calibration.deviation.astype(np.float64)
        answers = request.raw + scale * _normal(request)
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
        return request.raw + 5 + 0.5 * _normal(request), state, None, {}

    return Defence(lambda dim, key: {}, apply, wants={"secret"}, exempt={"scaling"})


def unit_noise_reference() -> Defence:
    """RDA's: answers of length 1 and normal noise of deviation 0.5 on each number.

    Of 512 numbers a noisy answer has a cosine of 0.09 with the clean one: nothing is
    left of it, and ten views of an image bring it back to 0.27. The length goes too, so
    a factor changes nothing where a factor belongs (exempt from "scaling").

    Source: the code of Wu et al. 2023 (RDA).
    """

    def apply(state: State, request: Request):
        return unit(request.raw) + 0.5 * _normal(request), state, None, {}

    return Defence(
        lambda dim, key: {}, apply, wants={"secret"}, exempt={"scaling"}, units=False
    )


def unit(raw: np.ndarray) -> np.ndarray:
    """Answers of length 1, float64 (n, d); those of length 0 as they are."""
    x = raw.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def moves(name: str, key: str, value: float) -> None:
    """Raises a UserError where so small a share of a deviation changes no answer."""
    least = float(np.finfo(np.float32).eps)  # as which answers are stored
    refuse_if(
        not least <= value < np.inf,
        f"service.defence_kw.{name}.{key} is {value}, which changes nothing or is no "
        "number; write a share of a deviation, as 0.1",
    )


def below(name: str, key: str, value: int, dim: int) -> None:
    """Raises a UserError unless a number of an answer's numbers is one, and not all."""
    refuse_if(
        type(value) is not int or not 1 <= value < dim,
        f"service.defence_kw.{name}.{key} must be a whole number from 1 to {dim - 1}, "
        f"below the {dim} numbers of an answer, not {value}",
    )
