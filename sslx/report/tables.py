"""Tables of a report: a header and lines of text, for a page, a file or a terminal."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from sslx.report.aggregate import Figure, Row
from sslx.report.compare import Difference, Nearness
from sslx.report.labels import evaluator, short
from sslx.report.records import MEASURES, NO_SEED, READ, Record, flaws

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


def measured(figure: Figure | None) -> str:
    """``0.912 [0.901, 0.923]``, as ``percent`` of what is no share."""
    if figure is None:
        return ""
    text = f"{figure.mean:.3f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{figure.low:.3f}, {figure.high:.3f}]"


def lines(rows: Iterable[dict[str, str]]) -> Lines:
    """Header and lines of rows that have the same keys, without empty columns."""
    body = list(rows)
    head = [key for key in (body[0] if body else {}) if any(row[key] for row in body)]
    return [head, *([row[key] for key in head] for row in body)]


def evaluators(rows: Iterable[Row]) -> list[str]:
    """Those of the rows, linear first."""
    found = dict.fromkeys(name for row in rows for name in row.figures)
    return sorted(found, key=lambda name: (name != "linear", name != "knn"))


def measures(rows: Iterable[Row]) -> list[str]:
    """The measures of fidelity that any of the rows has."""
    found = {name for row in rows for name in row.fidelity}
    return [name for name in MEASURES if name in found]


def place_of(row: Any, rows: list, where: bool = True) -> dict[str, str]:
    """Data set, and the victims' kind where there are several; nothing if not asked.

    Rows are whatever has ``dataset`` and ``kind``.
    """
    kind = row.kind if len({other.kind for other in rows}) > 1 else ""
    return {"data set": row.dataset, "victim": kind} if where else {}


def _who(row: Row | Record) -> dict[str, str]:
    usual = row.role == "untrained" and row.theft == "batch"  # goes without saying
    theft = "" if usual else row.theft or ""
    passes = None if row.passes is None else round(row.passes)
    return {
        "encoder": row.role,
        "theft": theft,
        "queries": number(row.queries, ","),
        "images": number(row.images, ","),
        "passes": number(passes, ","),
    }


def accuracy_table(rows: list[Row], where: bool = True) -> Lines:
    """Accuracies in per cent, a line for each row.

    Args:
        rows: Of the aggregate.
        where: Whether to name the data set, and the victim where there are several.
    """
    several = any(row.runs > 1 for row in rows)
    longer = sorted({row.times for row in rows if row.times})
    return lines(
        place_of(row, rows, where)
        | _who(row)
        | {"runs": str(row.runs) if several and row.role not in NO_SEED else ""}
        | {evaluator(e): percent(row.figures.get(e)) for e in evaluators(rows)}
        | {"% of victim": percent(row.of_victim)}
        | {"points over alone": percent(row.gain)}
        | {
            f"over alone, {n}x": percent(row.gain_long if row.times == n else None)
            for n in longer
        }
        for row in rows
    )


def fidelity_table(rows: list[Row], where: bool = True, whole: bool = False) -> Lines:
    """How alike each encoder and its victim are; ``whole`` for all measures."""
    names = measures(rows)
    read = [name for name in list(MEASURES)[:READ] if name in names]
    shown = names if whole or not read else read
    return lines(
        place_of(row, rows, where)
        | _who(row)
        | {MEASURES[name]: measured(row.fidelity.get(name)) for name in shown}
        for row in rows
        if row.fidelity
    )


def cost_table(rows: list[Row]) -> Lines:
    """What each theft costs, a line for each cell: it is the same on all data sets."""
    cells = {(row.kind, row.role, row.cell): row for row in reversed(rows)}
    return lines(
        {"victim": place_of(row, rows)["victim"]}
        | _who(row)
        | {
            "USD": number(row.usd, ".6g"),
            "training FLOPs": number(row.flops, ".2e"),
            "of victim's": number(row.flops_of_victim, ".1%").replace("%", " %"),
        }
        for row in rows
        if cells[row.kind, row.role, row.cell] is row
        and (row.flops is not None or row.usd is not None)
    )


def bill_table(records: list[Record]) -> Lines:
    """What was asked, as counted: a line for each account; who shares it, shares it."""
    asked: dict[str, list[Record]] = {}
    for r in records:
        if r.asked:
            asked.setdefault(r.asked, []).append(r)
    bills = [(own, *bill) for own in asked.values() for bill in own[0].accounts.items()]
    keys = dict.fromkeys(key for *_, counted in bills for key in counted)
    return lines(
        {"theft": ", ".join(dict.fromkeys(r.theft or "" for r in own))}
        | {"seed": number(own[0].seed, "d"), "account": account}
        | {key.replace("_", " "): _counter(counted.get(key)) for key in keys}
        for own, account, counted in bills
    )


def _counter(value: int | float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def difference_table(rows: list[Difference], most: int = MOST) -> Lines:
    """The comparisons of least p, a line for each."""
    best = sorted(rows, key=lambda row: (row.p is None, row.p))[:most]
    return lines(
        place_of(row, rows)
        | {"queries": f"{row.queries:,}", "theft": row.a, "less theft": row.b}
        | {"pairs": str(row.n)}
        | {"points": percent(Figure(row.difference, row.low, row.high, None, row.n))}
        | {"p": number(row.p, ".2g"), "Holm p": number(row.holm, ".2g")}
        for row in rows
        if any(row is other for other in best)
    )


def published_table(found: list[dict[str, Any]]) -> Lines:
    """Figures of others, and ours of the same or "not run"."""
    none = {"kind": "not run", "victims": {}, "copies": {}}
    pairs = [(other, own) for other in found for own in other["ours"] or [none]]
    names = list(dict.fromkeys(e for _, own in pairs for e in own["copies"]))

    def share(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f}"

    return lines(
        {"victim on": other["data"], "probed on": other["dataset"]}
        | {"loss": other["loss"], "queries": f"{other['queries']:,}"}
        | {"victim": share(other["victim"]), "copy": share(other["copy"])}
        | {"ours": own["kind"]}
        | {
            f"our {word}, {evaluator(e)}": share(own[key].get(e))
            for e in names
            for word, key in (("victim", "victims"), ("copy", "copies"))
        }
        | {"source": other["source"]}
        for other, own in pairs
    )


def nearness_table(rows: list[Nearness]) -> Lines:
    """Each theft beside the encoders that nobody stole, a line for each."""
    return lines(
        place_of(row, rows)
        | {"queries": f"{row.queries:,}", "theft": row.theft, "victims": str(row.n)}
        | {"copy": f"{row.copy:.3f}", "independent": f"{row.independent:.3f}"}
        | {"nearer by": measured(Figure(row.nearer, row.low, row.high, None, row.n))}
        | {"p": number(row.p, ".2g"), "Holm p": number(row.holm, ".2g")}
        | {"no nearer by": ", ".join(MEASURES[name] for name in row.against)}
        for row in rows
    )


def encoder_table(records: list[Record], primary: str) -> Lines:
    """Every encoder by itself, with how its linear probes were solved."""
    once = {(r.dataset, r.run, r.theft): r for r in records}

    def solved(r: Record) -> dict[str, str]:
        linear = r.scores.get("linear")
        found = [f"{evaluator(e)}: {f}" for e, s in r.scores.items() for f in flaws(s)]
        return {
            "L2 strength": number(linear.solved.get("l2") if linear else None, "g"),
            "solved": "; ".join(found),
        }

    return lines(
        {"data set": short(r.dataset)}
        | _who(r)
        | {"seed": number(r.seed, "d")}
        | {evaluator(primary): f"{100 * r.scores[primary].accuracy:.1f}"}
        | solved(r)
        | {"run": r.run}
        for r in once.values()
        if primary in r.scores and r.role != "majority"
    )


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


def results_csv(rows: list[dict[str, Any]]) -> str:
    """results.csv: the rows of results.json, a line and no block for each."""
    return _csv([dict(_flat(row)) for row in rows])


def _flat(row: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Columns of a row: a figure's mean under its own name, its ends beside it."""
    for key, value in row.items():
        name = path + key
        if key == "interval":
            yield from zip(("low", "high"), value or (None, None), strict=True)
        elif key == "changes":
            yield name, " ".join(f"{k}={v}" for k, v in value.items())
        elif isinstance(value, dict) and "mean" in value:
            yield name, value["mean"]
            yield from ((f"{name}_{part}", value[part]) for part in ("low", "high"))
        elif isinstance(value, dict):
            yield from _flat(value, f"{name}_")
        else:
            yield name, " ".join(map(str, value)) if isinstance(value, list) else value


def differences_csv(rows: list[Difference]) -> str:
    """differences.csv: all comparisons with all their digits."""
    return _csv([row._asdict() for row in rows])


def _csv(lines: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    columns = list(dict.fromkeys(key for line in lines for key in line))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
