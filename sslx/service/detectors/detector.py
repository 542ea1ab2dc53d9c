"""The contract of a detector: it looks at requests, and never changes an answer.

    honest = full(cut(honest, 1000), 1000)
    fitted = fit(DETECTORS["mmd"](), honest, rate=0.05)
    for stream, scores in zip(streams, fitted.score(streams)):
        print(stream.account, first_alarm(scores, fitted.threshold))

A threshold is set by what it is compared with: the highest score of a whole honest
stream. What a detector learns of honest users and what sets its threshold are different
streams, of different accounts where there are two or more.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from sslx.types import refuse_if

Known = dict[str, np.ndarray]  # what a detector has learned of honest users


class Stream(NamedTuple):
    """What one account asked, in the order asked; the whole of it or a part.

    Attributes:
        account: Who asked.
        times: (n,), never falling; in whatever unit, the same for all accounts.
        features: (n, d), finite: what it was answered, or another embedding.
        start: How many queries of the account came before.
    """

    account: str
    times: Float64[np.ndarray, " n"]
    features: Float[np.ndarray, "n d"]
    start: int = 0


class Scores(NamedTuple):
    """How suspicious a stream is while it is asked; the higher, the more.

    Attributes:
        at: Queries seen, counted from 1 and rising. Empty for a stream that is too
            short for the detector.
        values: The score then, of these queries alone.
    """

    at: Int64[np.ndarray, " m"]
    values: Float64[np.ndarray, " m"]


class Detector(NamedTuple):
    """Pure functions on streams.

    Attributes:
        learn: ``streams -> known``: what honest users are like. Raises a UserError
            where the streams are too few or too short.
        score: ``(known, streams) -> scores``, one for each stream. A score depends on
            no later query, on the scale of the features only through ``known``, and on
            other streams only where ``across`` is set.
        across: Whether it compares accounts with one another.
    """

    learn: Callable[[Sequence[Stream]], Known]
    score: Callable[[Known, Sequence[Stream]], list[Scores]]
    across: bool = False


class Fitted(NamedTuple):
    """A detector that knows honest users, and when to raise an alarm.

    Attributes:
        score: ``streams -> scores``, one for each.
        threshold: A score above it is an alarm.
        streams: How many honest streams have set the threshold.
    """

    score: Callable[[Sequence[Stream]], list[Scores]]
    threshold: float
    streams: int


def fit(detector: Detector, honest: Sequence[Stream], *, rate: float) -> Fitted:
    """Learns from one half of honest streams and sets the threshold by the other.

    The threshold is the smallest highest score of a stream that at most ``rate`` of
    further honest streams are expected to pass, if they are like these: of n scores in
    order that of place ceil((n + 1) (1 - rate)). With n below 1 / rate - 1 there is no
    such place; the highest is taken, which 1 / (n + 1) are expected to pass.

    Args:
        detector: Of ``DETECTORS``.
        honest: Streams of one length, as ``cut`` and ``full`` make them.
        rate: Share of honest streams that may raise an alarm, between 0 and 1.

    Raises:
        UserError: Too few or too short honest streams.

    Source: split conformal prediction, Vovk et al. 2005.
    """
    refuse_if(not 0 < rate < 1, f"a rate of false alarms lies in 0..1, not {rate:g}")
    learned, others = halves(honest)
    refuse_if(
        not others, "too few honest queries: 1 honest stream; two or more are needed"
    )
    known = detector.learn(learned)
    # Who compares accounts compares with all there are, as it will later.
    scores = detector.score(known, [*others, *learned] if detector.across else others)
    highest = [s.values.max() for s in scores[: len(others)] if len(s.at)]
    refuse_if(
        not highest,
        f"too few honest queries: streams of {_longest(others):,} queries are too "
        "short to be scored",
    )
    place = min(math.ceil((len(highest) + 1) * (1 - rate)), len(highest))
    return Fitted(
        lambda streams: detector.score(known, streams),
        float(np.sort(highest)[place - 1]),
        len(highest),
    )


def first_alarm(scores: Scores, threshold: float) -> int | None:
    """How many queries of the stream were seen at its first alarm; None for none."""
    above = np.flatnonzero(scores.values > threshold)
    return int(scores.at[above[0]]) if len(above) else None


def cut(streams: Sequence[Stream], length: int) -> list[Stream]:
    """Parts of ``length`` queries, one after the other: a watch that starts anew.

    What is left over at the end of a longer stream is a part, too, so that nobody is
    out of sight; ``fit`` wants those that are ``full``.
    """
    return [
        Stream(s.account, s.times[i:][:length], s.features[i:][:length], s.start + i)
        for s in streams
        for i in range(0, len(s.times), length)
    ]


def full(parts: Sequence[Stream], length: int) -> list[Stream]:
    """The parts of that length: by short ones a threshold would be too low."""
    return [part for part in parts if len(part.times) == length]


def halves(streams: Sequence[Stream]) -> tuple[list[Stream], list[Stream]]:
    """Every other account; of a single account every other stream.

    The first half is the larger one.
    """
    accounts = sorted({stream.account for stream in streams})
    if len(accounts) < 2:
        return list(streams[::2]), list(streams[1::2])
    first = set(accounts[::2])
    return (
        [s for s in streams if s.account in first],
        [s for s in streams if s.account not in first],
    )


def centre_of(streams: Sequence[Stream]) -> Float64[np.ndarray, " d"]:
    """Mean of the features of all streams."""
    total = sum(s.features.sum(axis=0, dtype=np.float64) for s in streams)
    return np.asarray(total / sum(len(s.times) for s in streams))


def directions(
    features: Float[np.ndarray, "n d"], centre: Float64[np.ndarray, " d"]
) -> Float64[np.ndarray, "n d"]:
    """Where features lie, seen from the centre: rows of length 1.

    Features after a ReLU all point the same way if they are not centred; columns that
    are the same for all say nothing. A row at the centre stays zero.
    """
    rows = features - centre
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    # What is left of equal rows is rounding, which must not become a direction.
    least = 1e-9 * np.linalg.norm(features, axis=1, keepdims=True)
    return np.where(length > least, rows / np.where(length > 0, length, 1), 0.0)


def _longest(streams: Sequence[Stream]) -> int:
    return max(len(stream.times) for stream in streams)
