"""PRADA without labels: are distances to what was asked before distributed normally?

Juuti et al. 2019, "PRADA: Protecting against DNN model stealing attacks", with one
growing set for an account in place of one for each predicted class.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from sslx.service.detectors.detector import (
    Detector,
    Known,
    Scores,
    Stream,
    centre_of,
    directions,
)
from sslx.types import refuse_if

BLOCK = 256  # queries whose distances to all before are held at once
EQUAL = 1e-6  # distances below are those of equal rows, and rounding
MOST = 5000  # queries of a stream: what the W of scipy is exact for


def prada(*, every: int = 10, least: int = 100, deviations: float = 3.0) -> Detector:
    """1 - W of Shapiro and Wilk, of the distances to the nearest member of a set.

    A query joins the set if it is farther from it than a bar, the highest so far of
    mean - deviation of the distances at which members joined. Distances are Euclidean,
    between directions. Score: from 0, normal, to 1; 0 where distances are all equal
    (an image sent again and again is ``similarity``'s).

    A stream of n queries takes n^2 d / 2 multiplications, and memory for n times 256
    distances.

    Args:
        every: Queries between two scores.
        least: Distances needed for a score, 3 or more.
        deviations: Distances that are so many standard deviations from their mean are
            left out.

    Raises:
        UserError: A number is out of its range.
    """
    refuse_if(every < 1, f"prada.every must be 1 or more, not {every}")
    refuse_if(least < 3, f"prada.least must be 3 or more, not {least}")
    refuse_if(
        not deviations > 0, f"prada.deviations must be above 0, not {deviations:g}"
    )

    def learn(streams: Sequence[Stream]) -> Known:
        return {"centre": centre_of(streams)}

    def score(known: Known, streams: Sequence[Stream]) -> list[Scores]:
        return [scored(known, stream) for stream in streams]

    def scored(known: Known, stream: Stream) -> Scores:
        refuse_if(
            len(stream.times) > MOST,
            f"prada takes streams of {MOST:,} queries at most; cut them shorter",
        )
        found = nearest(directions(stream.features, known["centre"]))
        at, values = [], []
        for n in range(every, len(found) + 1, every):
            seen = found[:n]
            kept = seen[np.abs(seen - seen.mean()) < deviations * seen.std()]
            if len(kept) >= least:
                at.append(n)
                values.append(1 - _w(kept))
            elif n >= least and seen.std() < EQUAL:
                at.append(n)
                values.append(0.0)
        return Scores(np.array(at, np.int64), np.array(values, np.float64))

    return Detector(learn, score)


def nearest(rows: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Distance of each row to the set that those before it have grown; 0 for the first.

    Args:
        rows: Of length 1, or 0.
    """
    out = np.zeros(len(rows))
    squares = np.sum(rows**2, axis=1)
    joined = np.zeros(len(rows), bool)  # whether a row is a member
    distances = np.zeros(len(rows))  # at which members joined
    joined[:1] = True
    members = 1
    bar = 0.0
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        past = slice(0, start + BLOCK)
        products = rows[block] @ rows[past].T
        apart = squares[block, None] + squares[past] - 2 * products
        apart = np.sqrt(np.maximum(apart, 0))
        for i, row in enumerate(apart, start):
            if i == 0:
                continue
            near = row[:i][joined[:i]].min()
            out[i] = near if near > EQUAL else 0.0
            if out[i] > bar:
                joined[i] = True
                distances[members] = out[i]
                members += 1
                here = distances[:members]
                bar = max(bar, float(here.mean() - here.std()))
    return out


def _w(values: Float64[np.ndarray, " n"]) -> float:
    from scipy.stats import shapiro  # a second, so only when wanted

    return float(shapiro(values).statistic) if np.ptp(values) > EQUAL else 1.0
