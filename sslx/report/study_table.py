"""What the records of a study say over seeds: means, intervals and paired tests."""

from itertools import combinations
from typing import Any

import numpy as np

from sslx.evals.intervals import holm, paired, t_interval
from sslx.report.likeness import MEASURES
from sslx.report.study_rows import Record

ROLES = ("victim", "stolen", "independent", "untrained", "pixels")
Row = dict[str, Any]
Figure = dict[str, Any]  # mean, low, high, by ("t", "wilson", None), n


def aggregate(records: list[Record]) -> list[Row]:
    """One row for each data set, kind of victim, encoder, theft and budget.

    ``runs`` are different encoders, ``pairs`` encoders with a victim. An interval is
    the t interval over what varies independently: the victims if there are several
    (each with the mean of its thefts), else the encoders. Of one run it is the
    probe's own, which covers the choice of test images alone.
    """
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        key = (r["set"], r["kind"], r["role"], r["theft"], r["queries"])
        groups.setdefault(key, []).append(r)
    sets = list(dict.fromkeys(r["set"] for r in records))
    kinds = list(dict.fromkeys(r["kind"] for r in records))
    thefts = list(dict.fromkeys(r["theft"] for r in records))

    def place(row: Row) -> tuple:
        where = sets.index(row["set"]), kinds.index(row["kind"])
        theft = thefts.index(row["theft"])
        return *where, ROLES.index(row["role"]), theft, row["queries"] or 0

    return sorted((_row(group) for group in groups.values()), key=place)


def _row(group: list[Record]) -> Row:
    first = group[0]
    alone = {r["run"]: r for r in group}
    asks = first["role"] == "stolen" and first["queries"] > 0
    several = len({r["victim"] for r in group}) > 1
    accuracy = {}
    for name in first["accuracy"]:
        if all(name in r["accuracy"] for r in group):
            unit = "victim" if asks and several else "run"
            values = [r["accuracy"][name] for r in group]
            accuracy[name] = _figure(group, unit, values)
            if len(alone) == 1:  # so it is of any number of pairs
                low, high = first["interval"][name]
                accuracy[name] |= {"low": low, "high": high, "by": "wilson"}
    ratio = None
    if first["role"] != "victim" and all(r["ratio"] is not None for r in group):
        unit = "victim" if several else "run"
        ratio = _figure(group, unit, [r["ratio"] for r in group])
        if len(alone) < len(group):  # the same encoder in several ratios
            ratio |= {"low": None, "high": None, "by": None}
    keys = ("set", "kind", "role", "theft", "attack", "loss", "queries", "n_test")
    flops, bound = _mean(group, "flops"), _mean(group, "victim_flops")
    return {
        **{key: first[key] for key in (*keys, "confidence")},
        "runs": len(alone),
        "pairs": len(group),
        "varies": varies(group),
        "accuracy": accuracy,
        "ratio": ratio,
        "fidelity": {
            m: _of([r["fidelity"].get(m) for r in group])
            for m in MEASURES
            if any(r["fidelity"].get(m) is not None for r in group)
        },
        "usd": _mean(group, "usd"),
        "flops": flops,
        "flops_ratio": flops / bound if flops is not None and bound else None,
    }


def _of(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _mean(group: list[Record], key: str) -> float | None:
    return _of([r[key] for r in group])


def _figure(group: list[Record], unit: str, figures: list[float]) -> Figure:
    """Mean and t interval over units; those that occur twice count once."""
    units: dict[str, list[float]] = {}
    for r, figure in zip(group, figures, strict=True):
        units.setdefault(r[unit], []).append(figure)
    values = [float(np.mean(own)) for own in units.values()]
    out: Figure = {"mean": float(np.mean(values)), "low": None, "high": None}
    out["by"] = None
    interval = t_interval(values, confidence=group[0]["confidence"])
    if interval is not None:
        out |= {"low": interval[0], "high": interval[1], "by": "t"}
    return out | {"n": len(values)}


def varies(group: list[Record]) -> str:
    """Which seeds the records of a row differ in, in words."""
    runs, seeds, victims = ({r[k] for r in group} for k in ("run", "seed", "victim"))
    role, n = group[0]["role"], len(group)
    if len(runs) == 1 and (n == 1 or role != "stolen"):
        return "no seed" if role == "pixels" else "one run"
    if role != "stolen":
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


def differences(records: list[Record]) -> list[Row]:
    """Paired comparisons of the linear accuracies of thefts of one budget.

    And of each theft with those that ask nothing. A pair is the same victim and the
    same stealer seed; of several victims each counts once, with the mean over its
    seeds. ``difference`` is ``a`` less ``b``; ``p`` is of the paired t test, and
    ``holm`` corrects it for all comparisons on the data set, whatever the budget; both
    are None with fewer than two pairs.
    """
    cells: dict[tuple, dict[tuple[str, int], Record]] = {}
    for r in records:
        if r["role"] == "stolen":
            cell = cells.setdefault((r["set"], r["kind"], r["queries"], r["theft"]), {})
            cell[r["victim"], r["seed"]] = r
    out = []
    for a, b in combinations(cells, 2):
        if a[:2] != b[:2] or (a[2] != b[2] and a[2] and b[2]):
            continue
        if not a[2]:  # what asks nothing stands second
            a, b = b, a
        found = _compared(cells[a], cells[b])
        if found:
            head = {"set": a[0], "kind": a[1], "queries": a[2]}
            out.append({**head, "a": a[3], "b": b[3], **found, "holm": None})
    for name in dict.fromkeys(row["set"] for row in out):
        family = [r for r in out if r["set"] == name and r["p"] is not None]
        for row, p in zip(family, holm([r["p"] for r in family]), strict=True):
            row["holm"] = p
    return sorted(out, key=lambda row: row["queries"])


def _compared(a: dict, b: dict) -> Row | None:
    """The comparison of two thefts over what they have in common; None for nothing."""
    both = [key for key in a if key in b]
    if not both:
        return None
    victims = dict.fromkeys(victim for victim, _ in both)
    by_victim = len(victims) > 1

    def means(cell: dict) -> list[float]:
        units: dict[Any, list[float]] = {}
        for key in both:
            unit = key[0] if by_victim else key
            units.setdefault(unit, []).append(cell[key]["accuracy"]["linear"])
        return [float(np.mean(values)) for values in units.values()]

    x, y = means(a), means(b)
    if len(x) < 2:
        gap = x[0] - y[0]
        return {"n": 1, "difference": gap, "low": None, "high": None, "p": None}
    confidence = a[both[0]]["confidence"]
    return {"n": len(x), **paired(x, y, confidence=confidence)._asdict()}
