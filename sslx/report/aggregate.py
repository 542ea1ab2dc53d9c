"""What records say over seeds: means, intervals and paired tests."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sslx.evals.intervals import Paired, holm, paired, t_interval
from sslx.report.collect import common
from sslx.report.records import MEASURES, NO_SEED, ROLES, SEEDS, THEFTS, Record

ALIKE = 0.05  # of the passes: batches of other sizes make them up to half a step


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
            on the same images without an answer, in as many passes; over its pairs.
        fidelity: Measure -> mean.
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
    fidelity: dict[str, float]
    usd: float | None
    images: int | None
    passes: float | None
    flops: float | None
    flops_of_victim: float | None

    @property
    def name(self) -> str:
        """The theft's label, or what else the encoder is."""
        return self.theft if self.theft and self.role in THEFTS else self.role


class Difference(NamedTuple):
    """A comparison of two thefts; see ``differences``.

    Attributes:
        dataset: Where.
        kind: The victims', in words.
        queries: Budget of ``a``.
        a: Label of a theft.
        b: Label of another.
        n: Pairs, or victims where there are several.
        difference: Mean accuracy of ``a`` less that of ``b``.
        low: End of its t interval.
        high: The other.
        p: Of the paired t test, two-sided.
        holm: Corrected for all comparisons on the data set.
    """

    dataset: str
    kind: str
    queries: int
    a: str
    b: str
    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    holm: float | None


def aggregate(records: list[Record], primary: str = "linear") -> list[Row]:
    """One row for each data set, kind of victim, encoder, theft and budget.

    An interval is the t interval over what varies independently: the victims if there
    are several (each with the mean of its thefts), else the encoders. Of one run it is
    the probe's own, which covers the choice of test images alone.
    """
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        work = (r.images, r.passes) if r.role == "alone" else ()
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
    """Place, victim, seed and number of images -> what he has without an answer."""
    out: dict[tuple, list[Record]] = {}
    for r in records:
        if r.role == "alone":
            out.setdefault(_situation(r), []).append(r)
    return out


def _situation(r: Record) -> tuple:
    return r.dataset, r.kind, r.victim, r.seed, r.images


def _gain(r: Record, beside: dict[tuple, list[Record]], primary: str) -> float | None:
    """Accuracy of a theft less that of its images alone, in as many passes."""
    if r.role != "stolen" or not r.passes or primary not in r.scores:
        return None
    for alone in beside.get(_situation(r), ()):
        alike = abs((alone.passes or 0) - r.passes) <= ALIKE * r.passes
        if alike and primary in alone.scores:
            return r.scores[primary].accuracy - alone.scores[primary].accuracy
    return None


def _row(group: list[Record], beside: dict[tuple, list[Record]], primary: str) -> Row:
    first = group[0]
    runs = {r.run for r in group}
    several = len({r.victim for r in group}) > 1
    figures = {}
    for name, score in first.scores.items():
        if all(name in r.scores for r in group):
            unit = "victim" if first.role == "stolen" and several else "run"
            values = [r.scores[name].accuracy for r in group]
            figure = _figure(group, unit, values)._replace(n_test=score.n_test)
            if len(runs) == 1:  # so it is of any number of pairs
                low, high = score.interval
                figure = figure._replace(low=low, high=high, by="wilson")
            figures[name] = figure
    shares = [r.of_victim for r in group if r.of_victim is not None]
    of_victim = None
    if first.role != "victim" and len(shares) == len(group):
        of_victim = _figure(group, "victim" if several else "run", shares)
        if len(runs) < len(group):  # the same encoder in several ratios
            of_victim = of_victim._replace(low=None, high=None, by=None)
    gains = [_gain(r, beside, primary) for r in group]
    gain = None
    if None not in gains:
        gain = _figure(group, "victim" if several else "run", gains)  # type: ignore[arg-type]
    flops = _mean([r.flops for r in group], all_known=True)
    bound = _mean([r.victim_flops for r in group], all_known=True)
    measured = {m: _mean([r.fidelity.get(m) for r in group]) for m in MEASURES}
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
        figures=figures,
        of_victim=of_victim,
        gain=gain,
        fidelity={m: value for m, value in measured.items() if value is not None},
        usd=_mean([r.usd for r in group]),
        images=max((r.images for r in group if r.images is not None), default=None),
        passes=_mean([r.passes for r in group], all_known=True),
        flops=flops,
        flops_of_victim=flops / bound if flops is not None and bound else None,
    )


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


Pairs = dict[tuple[str | None, int | None], Record]  # (victim, stealer seed) -> record


def differences(records: list[Record], primary: str = "linear") -> list[Difference]:
    """Paired comparisons of the accuracies of thefts of one budget.

    And of each theft with those that ask nothing. A pair is the same victim and the
    same stealer seed; of several victims each counts once, with the mean over its
    seeds. ``p`` and ``holm`` are None with fewer than two pairs; the family that is
    corrected is that of the data set, whatever the budget.
    """
    cells: dict[tuple[str, str, int, str], Pairs] = {}
    for r in records:
        if r.role in THEFTS and primary in r.scores:
            key = (r.dataset, r.kind, r.queries or 0, r.theft or "")
            cells.setdefault(key, {})[r.victim, r.seed] = r
    out = []
    for a, b in combinations(cells, 2):
        if a[:2] != b[:2] or (a[2] != b[2] and a[2] and b[2]):
            continue
        if not a[2]:  # what asks nothing stands second
            a, b = b, a
        if both := [pair for pair in cells[a] if pair in cells[b]]:
            n, gap = _compared(cells[a], cells[b], both, primary)
            found = gap.difference, gap.low, gap.high, gap.p
            out.append(Difference(*a, b[3], n, *found, None))
    corrected = dict(_corrected(out))
    return sorted(
        (row._replace(holm=corrected.get(i)) for i, row in enumerate(out)),
        key=lambda row: row.queries,
    )


def _corrected(rows: list[Difference]) -> Iterator[tuple[int, float | None]]:
    """(place in the list, p by Holm), a data set at a time."""
    for name in {row.dataset for row in rows}:
        own = [i for i, row in enumerate(rows) if row.dataset == name]
        yield from zip(own, holm([rows[i].p for i in own]), strict=True)


def _compared(a: Pairs, b: Pairs, both: list, primary: str) -> tuple[int, Paired]:
    """How two thefts differ over the pairs that they share, and over how many units."""
    by_victim = len({victim for victim, _ in both}) > 1

    def means(cell: Pairs) -> list[float]:
        units: dict[Any, list[float]] = {}
        for key in both:
            unit = key[0] if by_victim else key
            units.setdefault(unit, []).append(cell[key].scores[primary].accuracy)
        return [float(np.mean(values)) for values in units.values()]

    x, y = means(a), means(b)
    return len(x), paired(x, y, confidence=a[both[0]].confidence)
