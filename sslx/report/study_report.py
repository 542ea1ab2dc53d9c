"""The report of a study: everything it writes, from finished runs alone."""

from pathlib import Path

from sslx.report.report_text import plain
from sslx.report.study_rows import Pairs, collect
from sslx.report.study_table import aggregate, differences
from sslx.report.study_text import (
    Lines,
    accuracy_table,
    differences_csv,
    markdown,
    table_csv,
)
from sslx.runs.files import read_json, replacing, write_json
from sslx.runs.lineage import Node


def write(
    folder: Path,
    nodes: dict[str, Node],
    pairs: Pairs,
    title: str,
    notes: list[str] | None = None,
) -> Lines:
    """Writes report.md, report.html, the CSV files, results.json and the pictures.

    Args:
        folder: Where to; created where missing.
        nodes: The runs that belong, by key, with all that they build on.
        pairs: (key of a victim or None, key of a stealer that is judged against it).
        title: Heading of the report.
        notes: What must be known of the figures, a sentence each.

    Returns:
        The table of accuracies, a header and a line for each encoder, for ``plain``.

    Raises:
        UserError: No theft has a finished probe.
    """
    records = collect(nodes, pairs)
    from sslx.report import study_page, study_pictures  # matplotlib takes a second
    from sslx.report.pictures import save

    rows, compared = aggregate(records), differences(records)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = study_pictures.draw(rows, records)
    for picture in drawn:
        save(picture, folder)
    notes = [*(notes or []), *_doubts(nodes, rows)]
    names = {picture.title: picture.file for picture in drawn}
    page = study_page.html(title, records, rows, compared, drawn, notes)
    for name, text in (
        ("report.md", markdown(title, rows, compared, names, notes)),
        ("report.html", page),
        ("table.csv", table_csv(rows)),
        ("differences.csv", differences_csv(compared)),
    ):
        with replacing(folder / name) as file:
            file.write(text.encode())
    found = {"title": title, "notes": notes, "table": rows, "differences": compared}
    write_json(folder / "results.json", found | {"records": records})
    return accuracy_table(rows)


def shown(folder: Path) -> str:
    """The table of accuracies of a finished report, for a terminal."""
    return plain(accuracy_table(read_json(folder / "results.json")["table"]))


def _doubts(nodes: dict[str, Node], rows: list[dict]) -> list[str]:
    """What must be known of the linear probes and of intervals, a sentence each."""
    probes = [
        row
        for node in nodes.values()
        if node.stage == "probe"
        for row in node.meta.get("results") or []
        if row["evaluator"] == "linear"
    ]
    out = []
    for key, bad, what in (
        ("converged", False, "stopped short of the tolerance"),
        ("l2_at_edge", True, "chose an end of the grid of L2 strengths"),
    ):
        n = sum(row.get(key) is bad for row in probes)
        out += [f"{n} of {len(probes)} linear probes {what}."] if n else []
    if any(row["accuracy"]["linear"]["n"] == 2 for row in rows):
        out.append(
            "With two seeds an interval is some 13 times as wide as their spread, and "
            "says little."
        )
    return out
