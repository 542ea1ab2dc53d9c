"""Tables of a report: a header and lines of text, for a page, a file or a terminal."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from sslx.report.aggregate import Difference, Figure, Row
from sslx.report.labels import evaluator, short
from sslx.report.records import MEASURES, READ, Record
from sslx.runs.lineage import Node

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
    lines = _built([row._replace(dataset="") for row in rows], where, head, cells)
    return lines


def bill_table(records: list[Record]) -> Lines:
    """What was asked, as counted: a line for each account; who shares it, shares it."""
    thefts: dict[str, dict[str, Record]] = {}
    for r in records:
        if r.asked and r.theft:
            thefts.setdefault(r.asked, {}).setdefault(r.theft, r)
    keys: dict[str, None] = {}
    for own in thefts.values():
        for r in own.values():
            keys |= {key: None for c in r.accounts.values() for key in c}
    lines = [["theft", "seed", "account", *(key.replace("_", " ") for key in keys)]]
    for own in thefts.values():
        first = next(iter(own.values()))
        for account, counted in first.accounts.items():
            values = [_counter(counted.get(key)) for key in keys]
            lines.append([", ".join(own), number(first.seed, "d"), account, *values])
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


def settings_table(runs: dict[str, tuple[Node, dict[str, str]]]) -> Lines:
    """What determined runs: a line for each key, a column for each (run, settings)."""
    columns = {
        word: {"seed": str(node.recipe["seed"])} | own if "seed" in node.recipe else own
        for word, (node, own) in runs.items()
    }
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    lines = [[key, *(c.get(key, "") for c in columns.values())] for key in keys]
    return [["setting", *columns], *lines]


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
    plain_keys = ("dataset", "kind", "role", "theft", "attack", "loss", "queries")
    counts = ("runs", "pairs", "varies", "confidence")
    costs = ("usd", "flops", "flops_of_victim")
    parts = ("mean", "low", "high", "by")
    names, alike = evaluators(rows), measures(rows)
    head: list[Any] = [*plain_keys, *counts, "n_test"]
    head += [f"{name}_{part}" for name in [*names, "of_victim"] for part in parts]
    lines = [[*head, *alike, *costs]]
    for row in rows:
        figures = [*(row.figures.get(name) for name in names), row.of_victim]
        lines.append(
            [getattr(row, key) for key in (*plain_keys, *counts)]
            + [max(figure.n_test or 0 for figure in row.figures.values())]
            + [getattr(f, part) if f else None for f in figures for part in parts]
            + [row.fidelity.get(name) for name in alike]
            + [getattr(row, key) for key in costs]
        )
    return _csv(lines)


def differences_csv(rows: list[Difference]) -> str:
    """differences.csv: all comparisons with all their digits."""
    return _csv([list(Difference._fields), *map(list, rows)])


def _csv(lines: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()
