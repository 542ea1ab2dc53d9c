"""The facts of ``sslx.inspect`` as text, at most 100 columns where names allow it."""

import math
import textwrap
from collections.abc import Iterable
from typing import Any

WIDTH = 96


def as_text(facts: dict) -> str:
    """The text of what ``sslx.inspect.look`` gives."""
    return "\n".join(_workdir(facts) if "workdir" in facts else _run(facts))


def _accuracies(rows: list[dict]) -> str:
    """``linear 92.5 %, knn 88.6 %``; of several data sets, each led by its name."""
    by: dict[str, list[str]] = {}
    for row in rows:
        text = f"{row['evaluator']} {100 * row['accuracy']:.1f} %"
        by.setdefault(str(row["dataset"]), []).append(text)
    texts = {data: ", ".join(parts) for data, parts in by.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{data}: {text}" for data, text in texts.items())


def _state(facts: dict) -> str:
    """finished, or how far it has come."""
    step, steps = facts["step"], facts["steps"]
    if facts["finished"]:
        return "finished" if steps is None else f"finished, {step} steps"
    word = "unknown whether finished" if facts["finished"] is None else "unfinished"
    if step is None:
        return word if steps is None else f"{word}, nothing saved of {steps} steps"
    return f"{word}, saved at step {step} of {steps or '?'}"


def _problem(piece: Any) -> str | None:
    return piece.get("problem") if isinstance(piece, dict) else None


def _wrapped(text: str, indent: str = "  ", hang: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(rows: list[list[str]], indent: str = "  ") -> list[str]:
    """Columns; the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        indent
        + "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _pairs(values: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        return f"{value:,}" if type(value) is int else str(value)

    return ", ".join(f"{key} {text(value)}" for key, value in values.items())


def _run(facts: dict) -> list[str]:
    lines = [facts["run"]]
    lines += _wrapped(_problem(facts["what"]) or _what(facts["what"]))
    lines += _wrapped(_state(facts))
    if facts["problem"]:
        lines += _wrapped(f"! {facts['problem']}")
    lines += ["", "lineage (what a run builds on stands below it)"]
    for n in facts["lineage"]:
        lines.append("  " * (n["generation"] + 1) + _line(n))
    for part, piece in facts.get("weights", {}).items():
        lines += ["", *_part(part, piece)]
    for title, show in (
        ("metrics", _pairs),
        ("watch", _pairs),
        ("ledger", _ledger),
        ("results", _results),
        ("features", _ledger),
        ("fidelity", _ledger),
        ("report", None),
    ):
        if title not in facts:
            continue
        piece = facts[title]
        lines += ["", title + (" (last row)" if show is _pairs else "")]
        if _problem(piece):
            lines += _wrapped(f"! {piece['problem']}")
        if not piece:
            lines.append("  none yet")
        elif title == "report":
            lines += [f"  {path}" for path in piece]
        elif show and (isinstance(piece, list) or set(piece) != {"problem"}):
            shown = show(piece)
            lines += _wrapped(shown) if isinstance(shown, str) else shown
    return lines


def _what(what: dict) -> str:
    kw = _pairs(what.get("encoder_kw") or {})
    words = {k: str(v) for k, v in what.items() if k != "encoder_kw"}
    if "encoder" in words and kw:
        words["encoder"] += f" ({kw})"
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in words.items())


def _line(n: dict) -> str:
    """A run of a chain."""
    data = n["data"]
    if data is not None:
        data = f"data {data}" if isinstance(data, str) else "data unknown"
    return "  ".join(filter(None, (n["run"], n["problem"] or _state(n), data)))


def _part(part: str, piece: dict) -> list[str]:
    lines = [part]
    if _problem(piece):
        lines += _wrapped(f"! {piece['problem']}")
    if "total" not in piece:
        return lines
    table = [["name", "shape", "dtype", "count", "L2 norm"]]
    table += map(_row, piece["leaves"])
    table += [_row({**row, "name": f"all {row['name']}"}) for row in piece["total"]]
    return lines + _table(table)


def _row(row: dict) -> list[str]:
    shape = row["shape"]
    norm = row["norm"]
    arrays = f"{row['arrays']} array" + ("s" if row["arrays"] > 1 else "")
    return [
        row["name"],
        arrays if shape is None else "x".join(map(str, shape)) or "scalar",
        row["dtype"],
        f"{row['count']:,}",
        "" if norm is None else f"{norm:.4g}" if math.isfinite(norm) else str(norm),
    ]


def _ledger(piece: dict) -> str:
    named = {k: "none" if v is None else v for k, v in piece.items() if k != "problem"}
    return _pairs(named)


def _results(rows: list[dict]) -> list[str]:
    table = []
    for row in rows:
        low, high = row["interval"]
        interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
        accuracy = f"{100 * row['accuracy']:.1f} %"
        table.append([row["dataset"], row["evaluator"], accuracy, interval])
        table[-1].append(f"{row['n_test']} test images")
    return _table(table)


def _workdir(facts: dict) -> list[str]:
    runs = facts["runs"]
    lines = [f"{facts['workdir']}: {len(runs)} run" + ("s" if len(runs) > 1 else "")]
    shown: set[str] = set()

    def tree(keys: Iterable[str], depth: int) -> list[tuple[str, str]]:
        """(indented key, summary) of runs and of what builds on them, each once."""
        rows = []
        for key in keys:
            if key in shown:
                continue
            shown.add(key)
            children = runs[key]["children"]
            rows.append(("  " * (depth + 1) + key, _summary(runs[key])))
            rows += tree([c for c in children if _section(runs[c]) == ""], depth + 1)
        return rows

    sections: dict[str, list[tuple[str, str]]] = {}
    titles = ("victims", "no parent", "reports", "parent missing", "unreadable")
    for title in titles:
        keys = [key for key, run in runs.items() if _section(run) == title]
        sections[title] = tree(keys, 0)
    # Runs that name each other as parents, which only a damaged file can.
    sections["unreadable"] += tree(runs, 0)
    rows = [row for section in sections.values() for row in section]
    width = min(max((len(name) for name, _ in rows), default=0), 64)
    for title, section in sections.items():
        if section:
            lines += ["", title]
            for name, text in section:
                indent = " " * (len(name) - len(name.lstrip()))
                line = f"{name.strip().ljust(width - len(indent))}  {text}"
                lines += _wrapped(line, indent, 8 * " ")
    return lines


def _section(run: dict) -> str:
    """Where a run stands; "" for below the run that it builds on."""
    if run["finished"] is None:
        return "unreadable"
    if run["stage"] == "report":
        return "reports"
    if run["missing"]:
        return "parent missing"
    if run["parents"]:
        return ""
    return "victims" if run["stage"] == "victim" else "no parent"


def _summary(run: dict) -> str:
    parts = ["finished" if run["finished"] else _state(run)]
    if run["problem"]:
        parts = [f"! {run['problem']}"]
    if isinstance(run["queries"], dict):
        limit = run["queries"].get("limit")
        parts.append(f"{run['queries'].get('images')} of {limit} images")
    parts.append(_accuracies(run["results"]))
    if _problem(run["report"]):
        parts.append(run["report"]["problem"])
    if run["missing"]:
        parts.append(f"lacks {', '.join(run['missing'])}")
    return ", ".join(filter(None, parts))
