"""Tables of a report: a header and lines of text, for a page, a file or a terminal."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from sslx.report.aggregate import Difference, Figure, Row
from sslx.report.labels import evaluator, short
from sslx.report.records import MEASURES, READ, Record

Lines = list[list[str]]
MOST = 30  # comparisons shown; all are in differences.csv


def percent(figure: Figure | None) -> str:
    """``92.1 [90.0, 94.2]``, without brackets where there is no interval."""
    if figure is None:
        return ""
    text = f"{100 * figure.mean:.1f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def number(value: float | int | None, form: str = ".3g") -> str:
    """A number in a table; nothing for None."""
    return "" if value is None else format(value, form)


def trimmed(lines: Lines) -> Lines:
    """A table without the columns that hold nothing."""
    head, *body = lines
    kept = [i for i in range(len(head)) if any(line[i] for line in body)]
    return [[line[i] for i in kept] for line in lines]


def evaluators(rows: Iterable[Row]) -> list[str]:
    """Those of the rows, linear first."""
    found = dict.fromkeys(name for row in rows for name in row.figures)
    return sorted(found, key=lambda name: (name != "linear", name != "knn"))


def measures(rows: Iterable[Row]) -> list[str]:
    """The measures of fidelity that any of the rows has."""
    found = {name for row in rows for name in row.fidelity}
    return [name for name in MEASURES if name in found]


def _place(rows: list[Row] | list[Difference], where: bool) -> list[list[str]]:
    """The leading columns: data set, and the victims' kind where there are several."""
    several = len({row.kind for row in rows}) > 1
    cells = [[row.dataset, row.kind if several else ""] for row in rows]
    return [["data set", "victim"], *(c if where else ["", ""] for c in cells)]


def _who(row: Row) -> list[str]:
    theft = row.theft or ""
    if row.role == "untrained" and theft == "batch":  # goes without saying
        theft = ""
    return [row.role, theft, number(row.queries, ",")]


def _built(
    rows: list[Row], where: bool, head: list[str], cells: Iterable[list[str]]
) -> Lines:
    """Place and encoder of each row, and what else is said of it."""
    first = [["encoder", "theft", "queries", *head]]
    first += [[*_who(row), *own] for row, own in zip(rows, cells, strict=True)]
    places = _place(rows, where)
    return trimmed([[*a, *b] for a, b in zip(places, first, strict=True)])


def accuracy_table(rows: list[Row], where: bool = True) -> Lines:
    """Accuracies in per cent, a line for each row.

    Args:
        rows: Of the aggregate.
        where: Whether to name the data set, and the victim where there are several.
    """
    names = evaluators(rows)
    several = any(row.runs > 1 for row in rows)
    head = ["runs", *map(evaluator, names), "% of victim"]
    cells = [
        [str(row.runs) if several and row.role != "pixels" else ""]
        + [percent(row.figures.get(name)) for name in names]
        + [percent(row.of_victim)]
        for row in rows
    ]
    return _built(rows, where, head, cells)


def fidelity_table(rows: list[Row], where: bool = True, whole: bool = False) -> Lines:
    """How alike each encoder and its victim are; ``whole`` for all measures."""
    rows = [row for row in rows if row.fidelity]
    names = measures(rows)
    read = [name for name in list(MEASURES)[:READ] if name in names]
    names = names if whole or not read else read
    cells = ([number(r.fidelity.get(name), ".3f") for name in names] for r in rows)
    return _built(rows, where, [MEASURES[name] for name in names], cells)


def cost_table(rows: list[Row], where: bool = True) -> Lines:
    """What each theft costs, a line for each cell: it is the same on all data sets."""
    rows = [row for row in rows if row.flops is not None or row.usd is not None]
    first = {(row.kind, row.role, row.cell): row for row in reversed(rows)}
    rows = [row for row in rows if any(row is own for own in first.values())]
    cells = [
        [
            number(row.usd, ".6g"),
            number(row.flops, ".2e"),
            number(row.flops_of_victim, ".1%").replace("%", " %"),
        ]
        for row in rows
    ]
    head = ["USD", "training FLOPs", "of victim's"]
    return _built([row._replace(dataset="") for row in rows], where, head, cells)


def bill_table(records: list[Record]) -> Lines:
    """What was asked, as counted: a line for each account; who shares it, shares it."""
    asked: dict[str, list[Record]] = {}
    for r in records:
        if r.asked:
            asked.setdefault(r.asked, []).append(r)
    bills = [(own, *bill) for own in asked.values() for bill in own[0].accounts.items()]
    keys = list(dict.fromkeys(key for *_, counted in bills for key in counted))
    lines = [["theft", "seed", "account", *(key.replace("_", " ") for key in keys)]]
    for own, account, counted in bills:
        names = ", ".join(dict.fromkeys(r.theft or "" for r in own))
        values = [_counter(counted.get(key)) for key in keys]
        lines.append([names, number(own[0].seed, "d"), account, *values])
    return lines


def _counter(value: int | float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def difference_table(rows: list[Difference], most: int = MOST) -> Lines:
    """The comparisons of least p, a line for each."""
    best = sorted(rows, key=lambda row: (row.p is None, row.p))[:most]
    rows = [row for row in rows if any(row is other for other in best)]
    lines = [["queries", "theft", "less theft", "pairs", "points", "p", "Holm p"]]
    for row in rows:
        points = Figure(row.difference, row.low, row.high, None, row.n)
        p = [number(value, ".2g") for value in (row.p, row.holm)]
        lines.append(
            [f"{row.queries:,}", row.a, row.b, str(row.n), percent(points), *p]
        )
    places = _place(rows, True)
    return trimmed([[*a, *b] for a, b in zip(places, lines, strict=True)])


def encoder_table(records: list[Record], primary: str) -> Lines:
    """Every encoder by itself, with how its linear probe was solved."""
    head = ["data set", "encoder", "theft", "queries", "seed", evaluator(primary)]
    lines = [[*head, "L2 strength", "converged", "at the grid's end", "run"]]
    for r in records:
        who = [short(r.dataset), r.role, r.theft or "", number(r.queries, ",")]
        score = r.scores.get(primary)
        accuracy = f"{100 * score.accuracy:.1f}" if score else ""
        solved = r.scores["linear"].solved if "linear" in r.scores else {}
        words = {True: "yes", False: "no", None: ""}
        how = [words[solved.get(key)] for key in ("converged", "l2_at_edge")]
        line = [*who, number(r.seed, "d"), accuracy, number(solved.get("l2"), "g")]
        if [*line, *how, r.run] not in lines:
            lines.append([*line, *how, r.run])
    return trimmed(lines)


def plain(lines: Lines) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def pipes(lines: Lines) -> str:
    """A table for Markdown."""
    rule = ["---"] * len(lines[0])
    safe = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [safe[0], rule, *safe[1:]])


def table_csv(rows: list[Row]) -> str:
    """table.csv: the aggregate with all its digits, a line for each row."""
    who = ("dataset", "kind", "role", "theft", "attack", "loss", "queries")
    counts = ("runs", "pairs", "varies", "confidence")
    costs, lines = ("usd", "flops", "flops_of_victim"), []
    for row in rows:
        line = {key: getattr(row, key) for key in (*who, *counts)}
        line["n_test"] = max(figure.n_test or 0 for figure in row.figures.values())
        for name in [*evaluators(rows), "of_victim"]:
            figure = row.figures.get(name, row.of_victim if "of_" in name else None)
            for part in ("mean", "low", "high", "by"):
                line[f"{name}_{part}"] = getattr(figure, part, None)
        line |= {name: row.fidelity.get(name) for name in measures(rows)}
        lines.append(line | {key: getattr(row, key) for key in costs})
    return _csv(lines)


def differences_csv(rows: list[Difference]) -> str:
    """differences.csv: all comparisons with all their digits."""
    return _csv([row._asdict() for row in rows])


def _csv(lines: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
