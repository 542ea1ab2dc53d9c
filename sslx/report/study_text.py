"""A study's report as text: the tables, report.md and the CSV files."""

import csv
import io
from typing import Any

from sslx.report.likeness import MEASURES
from sslx.report.report_text import evaluator, pipes
from sslx.report.study_table import Figure, Row

Lines = list[list[str]]
MOST = 30  # comparisons shown; all are in differences.csv

FLOPS = (
    "FLOPs are estimated: three times the forward passes of the encoder over all "
    "images seen, as XLA counts one pass; heads, losses and augmentation are left out, "
    "and so is what the victim computes to answer."
)
HOLM = (
    "Differences of linear accuracy in points, between thefts of one budget (and those "
    "that ask nothing) on the same victims and stealer seeds, with t intervals; p of "
    "the paired t test, two-sided, and corrected by Holm over all comparisons on the "
    "data set."
)


def evaluators(rows: list[Row]) -> list[str]:
    """Those of the rows, linear first."""
    found = dict.fromkeys(name for row in rows for name in row["accuracy"])
    return sorted(found, key=lambda name: (name != "linear", name != "knn"))


def measures(rows: list[Row]) -> list[str]:
    """The measures of fidelity that any of the rows has."""
    return [m for m in MEASURES if any(m in row["fidelity"] for row in rows)]


def percent(figure: Figure | None) -> str:
    """``92.1 [90.0, 94.2]``, without brackets where there is no interval."""
    if figure is None:
        return ""
    text = f"{100 * figure['mean']:.1f}"
    if figure["low"] is None:
        return text
    return f"{text} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"


def number(value: float | int | None, form: str = ".3g") -> str:
    """A number in a table; nothing for None."""
    return "" if value is None else format(value, form)


def _who(rows: list[Row]) -> tuple[list[str], Any]:
    """The leading columns, and what they hold of a row; those that vary."""
    keys = ["set"] + ["kind"] * (len({row["kind"] for row in rows}) > 1)
    titles = {"set": "data set", "kind": "victim"}

    def cells(row: Row) -> list[str]:
        return [str(row[key]) for key in keys]

    return [titles[key] for key in keys], cells


def _encoder(row: Row) -> list[str]:
    return [row["role"], row["theft"], number(row["queries"], ",")]


def accuracy_table(rows: list[Row]) -> Lines:
    """Accuracies in per cent: a header, then a line for each row of the aggregate."""
    head, who = _who(rows)
    names = evaluators(rows)
    head = [*head, "encoder", "theft", "queries", "runs", *map(evaluator, names)]
    lines = [[*head, "of victim"]]
    for row in rows:
        figures = [percent(row["accuracy"].get(name)) for name in names]
        share = percent(row["ratio"])
        runs = "" if row["role"] == "pixels" else str(row["runs"])
        lines.append([*who(row), *_encoder(row), runs, *figures, share])
    return lines


def cost_table(rows: list[Row]) -> Lines:
    """What each theft costs, and how alike it is: a header, then a line for each."""
    head, who = _who(rows)
    names = measures(rows)
    costs = ["USD", "FLOPs", "of victim's"]
    titles = [MEASURES[name] for name in names]
    lines = [[*head, "encoder", "theft", "queries", *costs, *titles]]
    for row in rows:
        if row["flops"] is None and not row["fidelity"]:
            continue
        bill = [number(row["usd"], ".6g"), number(row["flops"], ".2e")]
        share = number(row["flops_ratio"], ".1%").replace("%", " %")
        alike = [number(row["fidelity"].get(name), ".3f") for name in names]
        lines.append([*who(row), *_encoder(row), *bill, share, *alike])
    return lines


def difference_table(rows: list[Row], most: int = MOST) -> Lines:
    """The comparisons of least p: a header, then a line for each."""
    head, who = _who(rows)
    lines = [
        [*head, "queries", "theft", "less theft", "pairs", "points", "p", "Holm p"]
    ]
    kept = sorted(rows, key=lambda row: (row["p"] is None, row["p"]))[:most]
    for row in rows:
        if any(row is other for other in kept):
            figure = {"mean": row["difference"], "low": row["low"], "high": row["high"]}
            own = [f"{row['queries']:,}", row["a"], row["b"], f"{row['n']}"]
            p = [number(row[key], ".2g") for key in ("p", "holm")]
            lines.append([*who(row), *own, percent(figure), *p])
    return lines


def seeds(rows: list[Row]) -> list[str]:
    """What varies within rows of more than one run, a sentence for each way."""
    ways: dict[str, list[str]] = {}
    for row in rows:
        if row["runs"] > 1 or row["pairs"] > 1 and row["role"] == "stolen":
            name = row["theft"] or row["role"]
            ways.setdefault(row["varies"], []).append(name)
    thefts = {row["theft"] for row in rows if row["role"] == "stolen"}
    out = []
    for way, names in ways.items():
        who = list(dict.fromkeys(names))
        word = "all thefts" if set(who) == thefts else ", ".join(who)
        out.append(f"{word}: {way}.")
    return out


def reading(rows: list[Row]) -> str:
    """How the figures and their intervals are to be read."""
    tests = {
        row["set"]: f"{row['n_test']:,} test images of {row['set']}" for row in rows
    }
    by = {f["by"] for row in rows for f in row["accuracy"].values()}
    level = f"{rows[0]['confidence']:.0%}".replace("%", " %")
    kinds = {
        "t": "t intervals over the seeds",
        "wilson": "of a single run Wilson's, which covers the choice of test images "
        "and nothing of how seeds vary",
    }
    told = "; ".join(text for kind, text in kinds.items() if kind in by)
    last = any("reference_probe" in row["accuracy"] for row in rows)
    more = "; the reference probe's are the last 1,000 of them at most" if last else ""
    images = ", ".join(tests.values()) + more
    return f"Per cent of {images}. In brackets, at {level}: {told}."


def markdown(
    title: str,
    rows: list[Row],
    compared: list[Row],
    pictures: dict[str, str],
    notes: list[str],
) -> str:
    """report.md; ``pictures`` maps a title to the file beside the report."""
    cost = cost_table(rows)
    parts = [
        f"# {title}",
        reading(rows),
        *(f"- {line}" for line in seeds(rows)),
        pipes(accuracy_table(rows)),
        *(f"Note: {note}" for note in notes),
    ]
    if len(cost) > 1:
        parts += ["## Cost and fidelity", FLOPS, pipes(cost)]
    if compared:
        parts += ["## Differences between thefts", HOLM]
        if len(compared) > MOST:
            parts.append(
                f"The {MOST} of least p; all {len(compared)} are in differences.csv."
            )
        parts.append(pipes(difference_table(compared)))
    parts += [f"## {name}\n\n![{name}]({file})" for name, file in pictures.items()]
    return "\n\n".join(parts) + "\n"


def table_csv(rows: list[Row]) -> str:
    """table.csv: the aggregate with all its digits, a line for each row."""
    plain = ("set", "kind", "role", "theft", "attack", "loss", "queries")
    counts = ("runs", "pairs", "varies", "n_test", "confidence")
    names, alike = evaluators(rows), measures(rows)
    parts = ("mean", "low", "high", "by")
    head = [*plain, *counts]
    head += [f"{name}_{part}" for name in [*names, "ratio"] for part in parts]
    head += [*alike, "usd", "flops", "flops_ratio"]
    lines = [head]
    for row in rows:
        figures = [*(row["accuracy"].get(name) for name in names), row["ratio"]]
        lines.append(
            [row[key] for key in (*plain, *counts)]
            + [f[part] if f else None for f in figures for part in parts]
            + [row["fidelity"].get(name) for name in alike]
            + [row[key] for key in ("usd", "flops", "flops_ratio")]
        )
    return _csv(lines)


def differences_csv(compared: list[Row]) -> str:
    """differences.csv: all comparisons with all their digits."""
    keys = (
        *("set", "kind", "queries", "a", "b", "n"),
        *("difference", "low", "high", "p", "holm"),
    )
    return _csv([list(keys), *([row[key] for key in keys] for row in compared)])


def _csv(lines: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()
