"""B4B, online: noise that grows with how much of the space of answers was seen."""

import numpy as np
from jaxtyping import Float

from sslx.registry import pick, traits
from sslx.service.defences.buckets import (
    buckets_of,
    check_buckets,
    cover,
    no_buckets,
)
from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.transforms import TRANSFORMS, transformed
from sslx.service.defences.units import MOST, moves
from sslx.types import refuse_if


@traits(may_be_0=("noise",))
def b4b(
    *,
    bits: int,
    draws: int,
    centred: bool,
    start: float,
    noise: float,
    knee: float,
    transform: str,
) -> Defence:
    """Buckets, a price curve, and a transform of each account's own.

    The noise of an image follows from the buckets that were seen after it, in the order
    sent: images in another order get other noise ("order" is not kept). Bits are bits
    in whatever units ("scaling" is not kept by that transform).

    Args:
        bits: Planes of a draw, 3 to 16: 2^bits buckets.
        draws: Of the planes, 1 to 64; coverage is the mean over them.
        centred: Whether the planes go through the calibration's mean, not through 0,
            where all answers of a ReLU lie on a few sides.
        start: Where the curve of noise starts to grow from, 1e-100 at least.
        noise: What it is at the knee, in deviations of each column, 1000 at most. 0 for
            none: the transform alone.
        knee: Coverage in percent, 100 at most.
        transform: An entry of ``TRANSFORMS``.

    Source: Dubinski et al. 2023, "Bucks for Buckets" (B4B). There noise is in absolute
    units and comes before the transform; see ``b4b_reference``.
    """
    check_buckets("b4b", bits, draws)
    where = "service.defence_kw.b4b"
    refuse_if(
        noise == 0 and transform == "none",
        f"{where}.noise is 0, and {where}.transform 'none': nothing would change",
    )
    _check(where, start, noise, knee)
    chosen = pick(TRANSFORMS, transform, f"{where}.transform")

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key, "occupied": no_buckets(bits, draws)}

    def apply(state: State, request: Request):
        assert request.calibration is not None and request.keys is not None
        rows = request.raw.astype(np.float64)
        key, middle = state["key"], request.calibration.mean if centred else 0
        coverage, occupied = cover(
            state["occupied"], buckets_of(rows - middle, key, bits, draws)
        )
        sd = noise_at(coverage, start=start, noise=noise, knee=knee)
        answers = transformed(
            *(transform, key, rows, sd, request.calibration, request.keys)
        )
        state = {"key": key, "occupied": occupied}
        return answers, state, None, {"coverage": coverage, "noise": sd}

    def out_dim(dim: int) -> int:
        refuse_if(
            transform == "bits" and dim < 2,
            f"{where}.transform='bits' takes two columns for a bit, and the victim's "
            "answers have one",
        )
        return chosen.out_dim(dim)

    return Defence(
        *(init, apply, out_dim),
        wants={"secret", "calibration"},
        exempt={"order"} | ({"scaling"} if transform == "bits" else set()),
        units=chosen.units,
    )


def _check(where: str, start: float, noise: float, knee: float) -> None:
    """Raises a UserError unless noise grows up to the knee, or is none."""
    refuse_if(
        knee > 100,
        f"{where}.knee must be 100 at most, not {knee}: coverage is in percent",
    )
    if noise == 0:
        return
    moves("b4b", "noise", noise)
    refuse_if(
        not start >= 1e-100,
        f"{where}.start must be 1e-100 at least, not {start}: noise would never grow "
        "from there",
    )
    refuse_if(
        start >= noise,
        f"{where}.start is {start}, and noise at the knee {noise}: it must be above "
        "that, or noise never grows",
    )


def noise_at(
    coverage: Float[np.ndarray, " n"], *, start: float, noise: float, knee: float
) -> Float[np.ndarray, " n"]:
    """The price curve: 0 where nothing was seen, ``noise`` at the knee, then steeper.

    Args:
        coverage: In percent.
        start: lambda of the paper.
        noise: Its alpha; 0 for none anywhere.
        knee: Its beta, in percent.
    """
    if noise == 0:
        return np.zeros_like(coverage, np.float64)
    exponent = np.log(noise / start) * coverage / knee
    return np.minimum(start * np.expm1(np.minimum(exponent, 500)), MOST)
