"""report.html of a study, in the manner of a single experiment's page."""

from typing import Any

from sslx.report.page import template
from sslx.report.pictures import Picture, svg
from sslx.report.report_text import short
from sslx.report.study_drawing import LEVELS, colours
from sslx.report.study_rows import Record
from sslx.report.study_table import Row
from sslx.report.study_text import (
    FLOPS,
    HOLM,
    MOST,
    accuracy_table,
    cost_table,
    difference_table,
    reading,
    seeds,
)

# Under each picture, by the beginning of its file's name.
CAPTIONS = {
    "accuracy": "Linear probes on each encoder. Bands and bars are the intervals, the "
    "victim's in blue; a theft is worth its queries by how far it stands above the "
    "untrained encoder and the pixels, and how near the victim.",
    "ratio": "The same as a share of the victim's accuracy, each stealer's of its own "
    "victim.",
    "cost": "What an accuracy costs: what was paid for the answers, and what the "
    "stealer's training takes. Beside the bills, what asks nothing is a dotted line.",
    "fidelity": "Each point is an encoder: how alike it is to its victim without any "
    "labels, and how good it is. Crosses were trained without the victim.",
}


def html(
    title: str,
    records: list[Record],
    rows: list[Row],
    compared: list[Row],
    drawn: list[Picture],
    notes: list[str],
) -> str:
    """The page.

    Args:
        title: Its heading.
        records: Of ``study_rows.collect``.
        rows: Of ``study_table.aggregate``.
        compared: Of ``study_table.differences``.
        drawn: Of ``study_pictures.draw``.
        notes: What must be known of the figures, a sentence each.
    """
    from sslx.version import __version__

    stolen = [r for r in records if r["role"] == "stolen"]
    return template("study.html.j2").render(
        compared=len(compared),
        differences=difference_table(compared) if compared else [],
        flops=FLOPS,
        holm=HOLM,
        lead=_lead(rows, stolen),
        most=MOST,
        notes=notes,
        reading=reading(rows),
        runs=_runs(records),
        seeds=seeds(rows),
        sets=_sets(rows, drawn),
        title=title,
        version=__version__,
    )


def _lead(rows: list[Row], stolen: list[Record]) -> dict[str, Any]:
    """Numbers for the sentence at the top."""
    thefts = list(dict.fromkeys(r["theft"] for r in stolen))
    budgets = sorted({r["queries"] for r in stolen} - {0})
    return {
        "budgets": [f"{n:,}" for n in budgets],
        "kinds": list(dict.fromkeys(filter(None, (r["kind"] for r in rows)))),
        "stealers": len({r["run"] for r in stolen}),
        "thefts": thefts,
        "victims": len({r["victim"] for r in stolen if r["victim"]}),
    }


def _sets(rows: list[Row], drawn: list[Picture]) -> list[dict[str, Any]]:
    """Of each data set and kind of victim: name, tables, pictures."""
    styles, out = colours(rows), []
    several = len({row["kind"] for row in rows}) > 1
    for name, kind in dict.fromkeys((row["set"], row["kind"]) for row in rows):
        own = [row for row in rows if (row["set"], row["kind"]) == (name, kind)]
        head, *lines = accuracy_table(own)
        colour = [
            styles[row["theft"]][0] if row["role"] == "stolen" else LEVELS[row["role"]]
            for row in own
        ]
        pictures = [p for p in drawn if p.dataset == f"{name}\n{kind}"]
        out.append(
            {
                "name": f"{short(name)}, {kind}" if several else short(name),
                "full": name,
                "head": head[1:],
                "lines": list(
                    zip(colour, (line[1:] for line in lines), own, strict=True)
                ),
                "cost": [line[1:] for line in cost_table(own)],
                "pictures": [
                    (
                        p,
                        svg(p),
                        CAPTIONS[p.file.removesuffix(".png").rstrip("0123456789")],
                    )
                    for p in pictures
                ],
            }
        )
    return out


def _runs(records: list[Record]) -> list[list[str]]:
    """Every encoder by itself: a header, then a line for each."""
    lines = [["data set", "encoder", "theft", "queries", "seed", "linear", "run"]]
    for r in records:
        queries = "" if r["queries"] is None else str(r["queries"])
        seed = "" if r["seed"] is None else str(r["seed"])
        linear = f"{100 * r['accuracy']['linear']:.1f}"
        who = [short(r["set"]), r["role"], r["theft"], queries, seed, linear]
        if [*who, r["run"]] not in lines:
            lines.append([*who, r["run"]])
    return lines
