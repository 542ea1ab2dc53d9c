"""What fitted detectors say of accounts, and how often they are wrong."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.evals.intervals import wilson
from sslx.service.detectors.detector import (
    Detector,
    Fitted,
    Stream,
    cut,
    first_alarm,
    fit,
)
from sslx.types import UserError, refuse_if


class Verdict(NamedTuple):
    """What a detector says of an account.

    Attributes:
        alarm: Queries of the account until the first alarm; None for none.
        score: Its highest; None where all its streams are too short to be scored.
        threshold: What the score has to pass.
        streams: Into how many parts of one length it was cut.
        alarms: In how many of them there was an alarm.
    """

    alarm: int | None
    score: float | None
    threshold: float
    streams: int
    alarms: int


class Rates(NamedTuple):
    """How often a kind of user raises an alarm, and when.

    Attributes:
        accounts: How many there are.
        detected: How many of them raise one, sooner or later.
        streams: Parts of one length that they ask.
        share: Of these, raise one; for honest users the rate of false alarms.
        low: Lower end of its 95 % interval (Wilson), as if streams were independent,
            which those of one account are not.
        high: Upper end.
        median: Queries until detection that half of the accounts have at most; None
            where fewer than half are detected.
        most: The same of 90 %.
    """

    accounts: int
    detected: int
    streams: int
    share: float
    low: float
    high: float
    median: int | None
    most: int | None


def judge(
    fitted: Fitted, streams: Sequence[Stream], *, length: int
) -> dict[str, Verdict]:
    """What a detector says of accounts, each watched anew every ``length`` queries.

    Args:
        fitted: What ``fit`` returns, of honest streams of that length.
        streams: Whole accounts, or parts. A detector that compares accounts sees all.
        length: Queries of a part.

    Returns:
        Account -> verdict, in the order given.
    """
    parts = cut(streams, length)
    said: dict[str, list[tuple[Stream, int | None, float | None]]] = {}
    for part, scores in zip(parts, fitted.score(parts), strict=True):
        highest = float(scores.values.max()) if len(scores.at) else None
        alarm = first_alarm(scores, fitted.threshold)
        said.setdefault(part.account, []).append((part, alarm, highest))
    out = {}
    for account, about in said.items():
        alarms = [part.start + alarm for part, alarm, _ in about if alarm is not None]
        scored = [highest for _, _, highest in about if highest is not None]
        out[account] = Verdict(
            min(alarms, default=None),
            max(scored, default=None),
            fitted.threshold,
            len(about),
            len(alarms),
        )
    return out


def verdicts_of(
    detectors: Mapping[str, Detector],
    honest: Sequence[Stream],
    streams: Sequence[Stream],
    *,
    rate: float,
    length: int,
) -> tuple[dict[str, tuple[Fitted, dict[str, Verdict]]], dict[str, str]]:
    """What each detector says of accounts, once fitted.

    Args:
        detectors: By name.
        honest: What fits them, streams of ``length`` queries.
        streams: Whole accounts, or parts, that are judged; none of the above.
        rate: See ``fit``.
        length: Queries of a part.

    Returns:
        Name -> what was fitted, and its verdicts as of ``judge``; and name -> why it
        could not be fitted.
    """
    found, left_out = {}, {}
    for name, detector in detectors.items():
        try:
            fitted = fit(detector, honest, rate=rate)
        except UserError as error:
            left_out[name] = str(error)
        else:
            found[name] = fitted, judge(fitted, streams, length=length)
    return found, left_out


def rates(
    fitted: Fitted, kinds: Mapping[str, Sequence[Stream]], *, length: int
) -> dict[str, Rates]:
    """False alarms and queries until detection, by kind of user.

    Args:
        fitted: What ``fit`` returns, of honest streams that are not among these.
        kinds: Kind of user -> whole accounts, one or more. All are there at once, for
            detectors that compare accounts.
        length: Queries of a part; see ``judge``.

    Raises:
        UserError: A kind without an account, or an account of two kinds.
    """
    owners: dict[str, str] = {}
    for kind, streams in kinds.items():
        refuse_if(not streams, f"there is no account of the kind {kind!r}")
        for account in {s.account for s in streams}:
            refuse_if(
                account in owners,
                f"account {account!r} is of the kind {kind!r} and of another",
            )
            owners[account] = kind
    verdicts = judge(fitted, [s for own in kinds.values() for s in own], length=length)
    return {
        kind: summarise([v for a, v in verdicts.items() if owners[a] == kind])
        for kind in kinds
    }


def summarise(verdicts: Sequence[Verdict]) -> Rates:
    """The verdicts on some accounts, one or more, as one."""
    streams = sum(v.streams for v in verdicts)
    alarms = sum(v.alarms for v in verdicts)
    until = np.sort([np.inf if v.alarm is None else v.alarm for v in verdicts])
    low, high = wilson(alarms, streams, confidence=0.95)
    return Rates(
        len(verdicts),
        int(np.isfinite(until).sum()),
        streams,
        alarms / streams,
        low,
        high,
        _of(until, 0.5),
        _of(until, 0.9),
    )


def _of(until: np.ndarray, share: float) -> int | None:
    """The number that so large a share of accounts has at most; they are sorted."""
    value = until[int(np.ceil(share * len(until) - 1e-9)) - 1]  # 0.9 is not exact
    return int(value) if np.isfinite(value) else None
