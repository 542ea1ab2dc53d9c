"""Coverage: how many hash buckets an account fills, against honest accounts as large.

Dubiński et al. 2023, "Bucks for Buckets (B4B)", has the buckets. Coverage alone counts
queries, so it is compared at the same number of them, and in both directions: a thief
who is told of the buckets covers fewer.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from sslx.service.detectors.detector import Detector, Known, Scores, Stream, centre_of
from sslx.types import refuse_if


def coverage(
    *, bits: int = 12, draws: int = 20, least: int = 50, seed: int = 0
) -> Detector:
    """|log| of the buckets filled over those that honest users fill, query by query.

    A bucket is the signs of centred features on random planes through the centre; the
    number filled is the mean over draws of planes, and what honest users fill its mean
    over streams. A stream that is longer than all of theirs has scores up to there.

    A query takes bits * draws * d multiplications.

    Args:
        bits: Planes of a draw, 1 to 62: 2^bits buckets.
        draws: Draws of planes.
        least: Queries before the first score; below, a few buckets decide.
        seed: Of the planes, 0 or more. Keep yours to yourself: who knows the planes can
            choose images by them.

    Raises:
        UserError: A number is out of its range; learning, that honest streams are
            shorter than ``least``.
    """
    refuse_if(not 1 <= bits <= 62, f"coverage.bits must be in 1..62, not {bits}")
    refuse_if(draws < 1, f"coverage.draws must be 1 or more, not {draws}")
    refuse_if(least < 1, f"coverage.least must be 1 or more, not {least}")
    refuse_if(seed < 0, f"coverage.seed must be 0 or more, not {seed}")

    def learn(streams: Sequence[Stream]) -> Known:
        longest = max(len(s.times) for s in streams)
        refuse_if(
            longest < least,
            f"too few honest queries: streams of {longest:,}, and coverage starts at "
            f"coverage.least={least:,}",
        )
        centre = centre_of(streams)
        shape = (draws, bits, len(centre))
        planes = np.random.default_rng(seed).normal(size=shape)
        total, there = np.zeros(longest), np.zeros(longest)
        for stream in streams:
            n = len(stream.times)
            total[:n] += filled(stream.features - centre, planes)
            there[:n] += 1
        return {"centre": centre, "planes": planes, "curve": total / there}

    def score(known: Known, streams: Sequence[Stream]) -> list[Scores]:
        return [scored(known, stream) for stream in streams]

    def scored(known: Known, stream: Stream) -> Scores:
        features = stream.features[: len(known["curve"])] - known["centre"]
        own = filled(features, known["planes"])
        values = np.abs(np.log(own / known["curve"][: len(own)]))
        return Scores(np.arange(least, len(own) + 1), values[least - 1 :])

    return Detector(learn, score)


def filled(
    centred: Float64[np.ndarray, "n d"], planes: Float64[np.ndarray, "draws bits d"]
) -> Float64[np.ndarray, " n"]:
    """Buckets filled after each query, the mean over draws."""
    out = np.zeros(len(centred))
    powers = 1 << np.arange(planes.shape[1])
    for own in planes:
        buckets = (centred @ own.T > 0) @ powers
        _, first = np.unique(buckets, return_index=True)
        out[first] += 1
    return np.cumsum(out) / len(planes)
