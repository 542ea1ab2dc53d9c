"""Gaussian noise on every number of an answer."""

import numpy as np
from jaxtyping import Float64, UInt32

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.numbers import check_strength


def noise(*, sd: float) -> Defence:
    """Answers are y + sd s z: s the deviation of each number, z standard normal.

    z is drawn by the image's key: an image has the same noise in whatever call. Where
    repeats are fresh the key is of the call, too, and the mean of m answers to one
    image has 1/sqrt(m) of the noise. Views of an image have noise of their own in
    either case, and their mean is as good as the views are alike.

    Args:
        sd: Of the noise, in deviations of the calibration; above 0.

    Raises:
        UserError: It changes nothing.
    """
    check_strength("noise", "sd", sd)

    def apply(state: State, request: Request):
        assert request.keys is not None and request.calibration is not None
        z = normal_of(request.keys, request.raw.shape[1])
        added = sd * request.calibration.deviation.astype(np.float64) * z
        return request.raw + added, state, None, {"noise": np.full(len(z), float(sd))}

    return Defence(lambda dim, key: {}, apply, wants={"secret", "calibration"})


def normal_of(keys: UInt32[np.ndarray, "n 8"], dim: int) -> Float64[np.ndarray, "n d"]:
    """Standard normal numbers, those of each row by its own key."""
    return np.stack([np.random.default_rng(key).normal(size=dim) for key in keys])
