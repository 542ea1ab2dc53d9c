"""Noise by how much more was seen than an honest user of so many queries sees.

Coverage alone counts queries: any big honest user comes to cover what a thief covers.
Here it is divided by what an honest user is expected to have covered by then.
"""

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import gammaln

from sslx.registry import traits
from sslx.service.defences.buckets import (
    buckets_of,
    check_buckets,
    cover,
    no_buckets,
)
from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.units import moves, normal
from sslx.types import refuse_if

USERS = 16  # honest users that are made up of the calibration set
# Numbers of queries at which their coverage is kept; between them it is a power law.
QUERIES = np.unique(np.round(2 ** (np.arange(49) / 2)).astype(np.int64))


@traits(at_most_1=("domain",))
def coverage_ratio(
    *, bits: int, draws: int, domain: float, allowed: float, noise: float, start: float
) -> Defence:
    """Noise by the ratio of an account's coverage to an honest user's.

    The noise of image N is the most that ``noise (ratio - allowed) N / (N + start)``
    has been up to it: all buckets full would be a ratio of 1 again. It follows from
    what was seen after the image, in the order sent ("order" is not kept).

    An honest user is one whose images are a part of the calibration set: those whose
    answers are nearest to that of one of 16 images. What he covers is measured at the
    account's first request (``expected``), by the account's own planes. The reach of
    that is the calibration set's: some three times as many queries as a user's part
    has images; from there on it says too little, and honest users get noise.

    Args:
        bits: Planes of a draw, 3 to 16: 2^bits buckets.
        draws: Of the planes, 1 to 64; coverage is the mean over them.
        domain: Share of the calibration set that is a user's; 1: all of it.
        allowed: Ratio up to which there is no noise, 1 or more and below 2^bits.
        noise: Added for each 1 of the ratio above, in deviations of each column.
        start: Queries after which half of that is added: early ratios are of few.
            2^24 at most, as which the honest user's coverage ends.
    """
    _check(bits, draws, allowed, noise, start)

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {
            "key": key,
            "occupied": no_buckets(bits, draws),
            "asked": np.zeros((), np.int64),
            "honest": np.zeros(len(QUERIES)),
            "noise": np.zeros(()),
        }

    def apply(state: State, request: Request):
        measured, key = request.calibration, state["key"]
        assert measured is not None and request.keys is not None

        def found(answers):
            rows = answers.astype(np.float64) - measured.mean
            return buckets_of(rows, key, bits, draws)

        honest = state["honest"]
        if not state["asked"]:
            users = _domains(measured.answers, domain)
            curves = [expected(found(user), 2**bits) for user in users]
            honest = np.mean(curves, axis=0)
        coverage, occupied = cover(state["occupied"], found(request.raw))
        asked = state["asked"] + np.arange(1, len(coverage) + 1)
        usual = np.exp(np.interp(np.log(asked), np.log(QUERIES), np.log(honest)))
        ratio = coverage / usual
        added = noise * np.maximum(ratio - allowed, 0) * asked / (asked + start)
        sd = np.maximum.accumulate(np.maximum(added, state["noise"]))
        drawn = normal(request.keys, request.raw.shape[1])
        answers = request.raw + sd[:, None] * measured.deviation * drawn
        state = {
            "key": key,
            "occupied": occupied,
            "asked": asked[-1],
            "honest": honest,
            "noise": sd[-1],
        }
        notes = {"coverage": coverage, "ratio": ratio, "noise": sd}
        return answers, state, None, notes

    return Defence(init, apply, wants={"secret", "calibration"}, exempt={"order"})


def _check(bits: int, draws: int, allowed: float, noise: float, start: float) -> None:
    """Raises a UserError where everybody gets noise, or nobody."""
    check_buckets("coverage_ratio", bits, draws)
    where = "service.defence_kw.coverage_ratio"
    refuse_if(
        allowed < 1,
        f"{where}.allowed must be 1 or more, not {allowed}: below that every account "
        "gets noise from its first image on",
    )
    refuse_if(
        not allowed < 2**bits,
        f"{where}.allowed must be below 2^bits ({2**bits}), not {allowed}: there "
        "are no more buckets to cover, and nobody gets noise",
    )
    moves("coverage_ratio", "noise", noise)
    refuse_if(
        not start <= QUERIES[-1],
        f"{where}.start must be {QUERIES[-1]} at most, not {start}: nobody asks so "
        "much, and next to no noise is added before",
    )


def _domains(
    answers: Float[np.ndarray, "n d"], share: float
) -> list[Float[np.ndarray, "k d"]]:
    """Of each honest user, those of the answers that are nearest to one of them."""
    n = len(answers)
    size = max(2, round(share * n))
    if size >= n:
        return [answers]
    rows = answers.astype(np.float64)
    centres = rows[np.linspace(0, n - 1, min(USERS, n)).astype(int)]
    return [
        answers[np.argsort(np.sum((rows - one) ** 2, axis=1), kind="stable")[:size]]
        for one in centres
    ]


def expected(
    buckets: Int64[np.ndarray, "n m"], each: int
) -> Float[np.ndarray, " queries"]:
    """Coverage in percent that is expected of a user of ``QUERIES`` queries.

    Up to n queries it is that of a sample without replacement (Hurlbert 1971); from
    there on buckets that were seen once or twice say how many were not seen (Chao 1984,
    the bias-corrected form) and how fast they are met (Colwell et al. 2012, equation
    9). Chao's number is a lower bound.

    Args:
        buckets: Those of n answers by m draws of the planes.
        each: Buckets of a draw.
    """
    n, draws = buckets.shape
    places = buckets + each * np.arange(draws)
    times = np.bincount(np.bincount(places.ravel()))[1:]  # buckets seen once, twice..
    counts = np.arange(1, len(times) + 1)
    k = np.minimum(QUERIES, n)[:, None]
    left = n - counts - k  # a bucket is missed by k of those n that are not in it
    ways = gammaln(n - counts + 1) - gammaln(np.maximum(left, 0) + 1)
    of = gammaln(n + 1) - gammaln(n - k + 1)
    seen = np.where(left < 0, 1, 1 - np.exp(ways - of)) @ times
    once, twice = times[0], times[1] if len(times) > 1 else 0
    unseen = (n - 1) / n * once * (once - 1) / (2 * (twice + 1))
    unseen = min(unseen, draws * each - seen[-1])
    if unseen > 0:
        more = np.maximum(QUERIES - n, 0)
        seen = seen + unseen * (1 - (1 - once / (n * unseen + once)) ** more)
    return 100 * seen / (draws * each)
