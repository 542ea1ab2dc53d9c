"""B4B with the parameters of its release, to compare with its figures only.

Kept of it, as far as a service can: planes through 0 and absolute noise, so that what a
strength means hangs on the scale of the answers ("scaling" is not kept); noise before
the transform, so that pads are constants and found by having no variance; factors from
-1 to 1, some of them next to nothing. With planes through 0 the answers of a ReLU
seldom cover half of the buckets, and below 50 % the noise is under 0.005.

Not kept, as no account could be answered so: noise looked up from a curve that was
measured beforehand, by the number of the batch, from the start again in every epoch, in
SimSiam's scripts at half the pace (answer n has the noise of answer n / 2); noise drawn
by the number of the batch; crops of images sorted by class; a first account without a
transform. Planes and transform are drawn by the account's key, noise by the image's.

Source: Dubinski et al. 2023, "Bucks for Buckets" (B4B), and its released code.
"""

import numpy as np

from sslx.service.defences.b4b import noise_at
from sslx.service.defences.buckets import (
    TRANSFORM,
    buckets_of,
    cover,
    no_buckets,
    stream_of,
)
from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.units import normal

BITS, DRAWS, KNEE = 12, 20, 80.0


def b4b_reference() -> Defence:
    """The release's usual numbers, diagonal transform, pads and a shuffle."""
    return _released(start=1e-6, noise=0.8)


def b4b_reference_simsiam() -> Defence:
    """Those of its SimSiam scripts, at the pace that they mean."""
    return _released(start=1e-7, noise=1.0)


def _released(*, start: float, noise: float) -> Defence:
    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key, "occupied": no_buckets(BITS, DRAWS)}

    def apply(state: State, request: Request):
        assert request.keys is not None
        rows, key = request.raw.astype(np.float64), state["key"]
        dim = rows.shape[1]
        coverage, occupied = cover(
            state["occupied"], buckets_of(rows, key, BITS, DRAWS)
        )
        sd = noise_at(coverage, start=start, noise=noise, knee=KNEE)
        random = stream_of(key, TRANSFORM)
        factors, shift = random.uniform(-1, 1, (2, dim))
        pads = np.tile(random.normal(size=dim), (len(rows), 1))
        answers = (rows + sd[:, None] * normal(request.keys, dim)) * factors + shift
        answers = np.hstack([answers, pads])[:, random.permutation(2 * dim)]
        state = {"key": key, "occupied": occupied}
        return answers, state, None, {"coverage": coverage, "noise": sd}

    return Defence(
        *(init, apply, lambda dim: 2 * dim),
        wants={"secret"},
        exempt={"order", "scaling"},
        units=False,
    )
