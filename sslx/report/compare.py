"""Paired comparisons: of thefts, and of a copy with what nobody stole."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sslx.evals.intervals import Paired, holm, paired
from sslx.report.aggregate import Row
from sslx.report.records import (
    LESS_IS_NEARER,
    MEASURES,
    READ,
    THEFTS,
    Own,
    Record,
    stands_beside,
)

# Which decides whether a copy is near, chosen on an earlier version's runs: no label
# enters it, nor width or basis; and the best map is fitted for whoever is compared.
NEARNESS = "linear_l2"


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


class Nearness(NamedTuple):
    """Whether a copy is nearer to its victim than encoders that nobody stole.

    Attributes:
        dataset: Where.
        kind: The victims', in words.
        queries: Budget.
        theft: Label.
        measure: ``NEARNESS``.
        n: Victims.
        copy: Mean of the thefts.
        independent: Of the encoders that nobody stole.
        nearer: By how much the copy is the nearer one, over the victims; below 0 where
            it is farther.
        low: End of the t interval.
        high: The other.
        p: Of the paired t test, two-sided.
        holm: Corrected for all thefts on the data set.
        against: Of the other measures that are read, those by which it is no nearer.
    """

    dataset: str
    kind: str
    queries: int
    theft: str
    measure: str
    n: int
    copy: float
    independent: float
    nearer: float
    low: float | None
    high: float | None
    p: float | None
    holm: float | None
    against: list[str]


Pairs = dict[tuple[str | None, int | None], Record]  # (victim, stealer seed) -> record


def differences(records: list[Record], primary: str = "linear") -> list[Difference]:
    """Paired comparisons of the accuracies of thefts of one budget.

    And of each theft with those that ask nothing, on its images or on the whole pool.
    A pair is the same victim and the same stealer seed; of several victims each counts
    once, with the mean over its seeds. ``p`` and ``holm`` are None with fewer than two
    pairs; the family that is corrected is that of the data set, whatever the budget.
    """
    cells: dict[tuple[str, str, int, str], Pairs] = {}
    own: dict[tuple, Own | None] = {}
    for r in records:
        if r.role in THEFTS and primary in r.scores:
            # Several trainings without an answer differ in images and passes alone.
            name = r.theft if r.queries else r.cell
            key = (r.dataset, r.kind, r.queries or 0, name or "")
            cells.setdefault(key, {})[r.victim, r.seed] = r
            own[key] = r.own
    out = []
    for a, b in combinations(cells, 2):
        if not a[2]:  # what asks nothing stands second
            a, b = b, a
        alike = a[2] == b[2] or (not b[2] and stands_beside(own[a], own[b]))
        if a[:2] != b[:2] or not a[2] or not alike:
            continue
        if both := [pair for pair in cells[a] if pair in cells[b]]:
            n, gap = _compared(cells[a], cells[b], both, primary)
            found = gap.difference, gap.low, gap.high, gap.p
            out.append(Difference(*a, b[3], n, *found, None))
    corrected = dict(_corrected([(row.dataset, row.p) for row in out]))
    return sorted(
        (row._replace(holm=corrected.get(i)) for i, row in enumerate(out)),
        key=lambda row: row.queries,
    )


def _corrected(
    tests: list[tuple[str, float | None]],
) -> Iterator[tuple[int, float | None]]:
    """(place in the list, p by Holm) of (data set, p), a data set at a time."""
    for name in {dataset for dataset, _ in tests}:
        own = [i for i, (dataset, _) in enumerate(tests) if dataset == name]
        yield from zip(own, holm([tests[i][1] for i in own]), strict=True)


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


def nearness(records: list[Record]) -> list[Nearness]:
    """Each theft's fidelity beside that of the encoders that nobody stole.

    A pair is a victim, with the mean over its thefts and over the independent encoders;
    of one victim there is no interval. What is tested is ``NEARNESS``; the corrected
    family is that of the data set.
    """
    copies: dict[tuple[str, str, int, str], list[Record]] = {}
    beside: dict[tuple[str, str], list[Record]] = {}
    for r in records:
        if r.role == "stolen":
            key = (r.dataset, r.kind, r.queries or 0, r.theft or "")
            copies.setdefault(key, []).append(r)
        elif r.role == "independent":
            beside.setdefault((r.dataset, r.kind), []).append(r)
    out = []
    for key, own in copies.items():
        others = beside.get(key[:2], [])
        found = {m: _nearer(own, others, m) for m in list(MEASURES)[:READ]}
        judged = found.pop(NEARNESS)
        if judged is None:
            continue
        n, copy, independent, gap = judged
        against = [m for m, it in found.items() if it and it[3].difference <= 0]
        told = gap.difference, gap.low, gap.high, gap.p
        row = Nearness(*key, NEARNESS, n, copy, independent, *told, None, against)
        out.append(row)
    corrected = dict(_corrected([(row.dataset, row.p) for row in out]))
    return [row._replace(holm=corrected.get(i)) for i, row in enumerate(out)]


def _nearer(
    own: list[Record], others: list[Record], measure: str
) -> tuple[int, float, float, Paired] | None:
    """Victims, means of copies and of others, and by how much copies are nearer."""
    x, y = _by_victim(own, measure), _by_victim(others, measure)
    both = [victim for victim in x if victim in y]
    if not both:
        return None
    a, b = [x[victim] for victim in both], [y[victim] for victim in both]
    one, two = (b, a) if measure in LESS_IS_NEARER else (a, b)
    gap = paired(one, two, confidence=own[0].confidence)
    return len(both), float(np.mean(a)), float(np.mean(b)), gap


def _by_victim(records: list[Record], measure: str) -> dict[str | None, float]:
    """Victim -> mean of a measure, over the records that have it."""
    known: dict[str | None, list[float]] = {}
    for r in records:
        if (value := r.fidelity.get(measure)) is not None:
            known.setdefault(r.victim, []).append(value)
    return {victim: float(np.mean(values)) for victim, values in known.items()}


def beside_published(
    published: list[dict[str, Any]], rows: list[Row], primary: str
) -> list[dict[str, Any]]:
    """Figures of others, each with the rows of ours that are of the same.

    Args:
        published: Entries of ``Published``.
        rows: Of the aggregate.
        primary: The evaluator that is ours; the reference probe is the study's.

    Returns:
        Each entry, with ``ours``: for each kind of victim ``kind``, ``cell`` and
        evaluator -> accuracy of ``victims`` and ``copies``; empty where it was not run.
    """

    def fits(row: Row, other: dict[str, Any]) -> bool:
        of = row.dataset, row.loss, row.queries
        wanted = other["dataset"], other["loss"], other["queries"]
        theft = row.role == "stolen" and row.attack == "direct"
        # The kind has the victim's data, where they are known.
        return theft and of == wanted and other["data"] in row.kind.split()

    def accuracies(row: Row) -> dict[str, float]:
        names = dict.fromkeys((primary, "reference_probe"))
        return {e: row.figures[e].mean for e in names if e in row.figures}

    judges = {row[:2]: accuracies(row) for row in rows if row.role == "victim"}
    return [
        other
        | {
            "ours": [
                {"kind": row.kind, "cell": row.cell}
                | {"victims": judges.get(row[:2], {}), "copies": accuracies(row)}
                for row in rows
                if fits(row, other)
            ]
        }
        for other in published
    ]
