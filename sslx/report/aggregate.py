"""What records say over seeds: means with their intervals."""

from typing import Any, NamedTuple

import numpy as np

from sslx.evals.intervals import t_interval
from sslx.report.collect import common
from sslx.report.records import (
    MEASURES,
    NO_SEED,
    ROLES,
    SEEDS,
    THEFTS,
    Own,
    Record,
    times_of,
)


class Figure(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: A share, or a ratio.
        low: End of the interval, None where there is none.
        high: The other.
        by: What the interval is: "t" over seeds, "wilson" over test images, or None.
        n: How many independent values the mean is of.
        n_test: Test images of an accuracy.
    """

    mean: float
    low: float | None
    high: float | None
    by: str | None
    n: int
    n_test: int | None = None


class Row(NamedTuple):
    """A data set, a kind of victim and an encoder, over all seeds.

    Attributes:
        dataset: As in the records, and so on down to ``changes``.
        confidence: Of the intervals.
        runs: Different encoders.
        pairs: Encoders with a victim.
        seeds: The encoders' own.
        varies: Which seeds differ, in words.
        figures: Evaluator -> accuracy.
        of_victim: The primary accuracy as a share of the victim's, mean of the pairs.
        gain: Of a theft, the primary accuracy less that of the same network trained
            without an answer on the images it asks, in as many passes; over its pairs.
            Of a warm start, too, that had the whole pool before it asked.
        gain_long: The same over ``times`` as many passes, the most that there are.
        times: A whole number above 1; None without such a training.
        own: What a stealer has without answers, seeds apart.
        fidelity: Measure -> figure, over what accuracies are over.
        usd: Mean of what was billed.
        images: Different ones in the trainings, the most of them.
        passes: Mean of the trainings.
        flops: Likewise.
        flops_of_victim: The same as a share of the victim's.
    """

    dataset: str
    kind: str
    role: str
    theft: str | None
    cell: str | None
    attack: str | None
    loss: str | None
    queries: int | None
    changes: dict[str, Any]
    confidence: float
    runs: int
    pairs: int
    seeds: list[int]
    varies: str
    figures: dict[str, Figure]
    of_victim: Figure | None
    gain: Figure | None
    gain_long: Figure | None
    times: int | None
    own: Own | None
    fidelity: dict[str, Figure]
    usd: float | None
    images: int | None
    passes: float | None
    flops: float | None
    flops_of_victim: float | None

    @property
    def name(self) -> str:
        """The theft's label, or what else the encoder is."""
        return self.theft if self.theft and self.role in THEFTS else self.role


def aggregate(records: list[Record], primary: str = "linear") -> list[Row]:
    """One row for each data set, kind of victim, encoder, theft and budget.

    An interval is the t interval over what varies independently: the victims if there
    are several (each with the mean of its thefts), else the encoders. Of one run it is
    the probe's own, which covers the choice of test images alone.
    """
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        work: tuple = (r.images, r.passes) if r.role == "alone" else ()
        if r.role == "honest":
            work = (r.settings["defence"],)
        key = (r.dataset, r.kind, r.role, r.theft, r.queries, *work)
        groups.setdefault(key, []).append(r)
    order = [list(dict.fromkeys(r[i] for r in records)) for i in (0, 1)]
    thefts = list(dict.fromkeys(r.theft for r in records))

    def place(row: Row) -> tuple:
        where = order[0].index(row.dataset), order[1].index(row.kind)
        theft = thefts.index(row.theft)
        size = row.queries or row.images or 0
        return *where, ROLES.index(row.role), theft, size, row.passes or 0

    beside = _alone(records)
    rows = (_row(group, beside, primary) for group in groups.values())
    return sorted(rows, key=place)


def _alone(records: list[Record]) -> dict[tuple, list[Record]]:
    """Place, victim, seed, network and images -> what he has without an answer."""
    out: dict[tuple, list[Record]] = {}
    for r in records:
        if r.role == "alone":
            out.setdefault(_situation(r), []).append(r)
    return out


def _situation(r: Record) -> tuple:
    return r.dataset, r.kind, r.victim, r.seed, r.own


def _gains(
    r: Record, beside: dict[tuple, list[Record]], primary: str
) -> dict[int, float]:
    """Accuracy of a theft less that of its images alone, by times its passes."""
    out: dict[int, float] = {}
    if r.role != "stolen" or not r.passes or primary not in r.scores:
        return out
    for alone in beside.get(_situation(r), ()):
        times = times_of(alone.passes or 0, r.passes)
        if times and primary in alone.scores:
            accuracy = alone.scores[primary].accuracy
            out.setdefault(times, r.scores[primary].accuracy - accuracy)
    return out


def _row(group: list[Record], beside: dict[tuple, list[Record]], primary: str) -> Row:
    first = group[0]
    runs = {r.run for r in group}
    several = len({r.victim for r in group}) > 1
    by_pair = "victim" if several else "run"
    unit = by_pair if first.role == "stolen" else "run"
    shares = [r.of_victim for r in group if r.of_victim is not None]
    of_victim = None
    if first.role != "victim" and len(shares) == len(group):
        of_victim = _figure(group, by_pair, shares)
        if len(runs) < len(group):  # the same encoder in several ratios
            of_victim = of_victim._replace(low=None, high=None, by=None)
    found = [_gains(r, beside, primary) for r in group]
    gains = {
        times: _figure(group, by_pair, [own[times] for own in found])
        for times in found[0]
        if all(times in own for own in found)
    }
    longest = max(gains, default=1)
    flops = _mean([r.flops for r in group], all_known=True)
    bound = _mean([r.victim_flops for r in group], all_known=True)
    changes = common([r.changes for r in group])
    return Row(
        *(first.dataset, first.kind, first.role, first.theft, first.cell),
        *(first.attack, first.loss, first.queries),
        changes={key: v for key, v in changes.items() if key not in SEEDS},
        confidence=first.confidence,
        runs=len(runs),
        pairs=len(group),
        seeds=sorted({r.seed for r in group if r.seed is not None}),
        varies=varies(group),
        figures=_accuracies(group, unit),
        of_victim=of_victim,
        gain=gains.get(1),
        gain_long=gains[longest] if longest > 1 else None,
        times=longest if longest > 1 else None,
        own=first.own,
        fidelity=_fidelity(group, unit),
        usd=_mean([r.usd for r in group]),
        images=max((r.images for r in group if r.images is not None), default=None),
        passes=_mean([r.passes for r in group], all_known=True),
        flops=flops,
        flops_of_victim=flops / bound if flops is not None and bound else None,
    )


def _accuracies(group: list[Record], unit: str) -> dict[str, Figure]:
    """What each evaluator says that all records of a row have."""
    figures = {}
    for name, score in group[0].scores.items():
        if all(name in r.scores for r in group):
            values = [r.scores[name].accuracy for r in group]
            figure = _figure(group, unit, values)._replace(n_test=score.n_test)
            if len({r.run for r in group}) == 1:  # so it is of any number of pairs
                low, high = score.interval
                figure = figure._replace(low=low, high=high, by="wilson")
            figures[name] = figure
    return figures


def _fidelity(group: list[Record], unit: str) -> dict[str, Figure]:
    """Each measure over the records that have it."""
    figures = {}
    for name in MEASURES:
        known = [r for r in group if r.fidelity.get(name) is not None]
        if known:
            values = [r.fidelity[name] or 0.0 for r in known]
            figures[name] = _figure(known, unit, values)
    return figures


def baselines(rows: list[Row], primary: str) -> list[Row]:
    """The rows but for the lesser form of the untrained network in each place.

    By the primary figure; what is compared with "untrained" is the better of the two.
    """
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        figure, place = row.figures.get(primary), row[:2]
        if row.role == "untrained" and figure:
            there = best.setdefault(place, row)
            if figure.mean > there.figures[primary].mean:
                best[place] = row
    return [r for r in rows if r.role != "untrained" or best.get(r[:2], r) is r]


def _mean(values: list[float | int | None], all_known: bool = False) -> float | None:
    """Of what is known; None for nothing, or where ``all_known`` for anything less."""
    found = [value for value in values if value is not None]
    if not found or (all_known and len(found) < len(values)):
        return None
    return float(np.mean(found))


def _figure(group: list[Record], unit: str, values: list[float]) -> Figure:
    """Mean and t interval over units; those that occur twice count once."""
    units: dict[str, list[float]] = {}
    for r, value in zip(group, values, strict=True):
        units.setdefault(getattr(r, unit), []).append(value)
    means = [float(np.mean(own)) for own in units.values()]
    interval = t_interval(means, confidence=group[0].confidence)
    low, high = interval or (None, None)
    by = "t" if interval else None
    return Figure(float(np.mean(means)), low, high, by, len(means))


def varies(group: list[Record]) -> str:
    """Which seeds the records of a row differ in, in words."""
    runs, seeds, victims = (
        {getattr(r, key) for r in group} for key in ("run", "seed", "victim")
    )
    role, n = group[0].role, len(group)
    if len(runs) == 1 and (n == 1 or role not in THEFTS):
        return "no seed" if role in NO_SEED else "one run"
    if role not in THEFTS:
        return f"{len(runs)} {role} seeds"
    if len(victims) == 1:
        return f"{len(runs)} stealer seeds, one victim"
    if len(runs) == n == len(victims):
        if len(seeds) == n:
            return f"{n} victim seeds, each with its own stealer seed"
        if len(seeds) == 1:
            return f"{n} victim seeds, one stealer seed"
    stealers = "one stealer" if len(runs) == 1 else f"{len(runs)} stealers"
    return f"{len(victims)} victim seeds, {stealers}, {n} pairs"
