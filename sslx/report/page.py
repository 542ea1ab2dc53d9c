"""report.html: the report as one page that asks nothing of any other host."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sslx.report import gallery, tables, words
from sslx.report.drawing import COLOURS, Picture, colour, styles, svg
from sslx.report.gallery import Gallery
from sslx.report.labels import settings_of, short
from sslx.report.words import Report
from sslx.runs.lineage import Node

SHORT = 12  # lines of a table that is not folded


def html(
    report: Report,
    title: str,
    notes: list[str],
    name: str,
    drawn: list[Picture],
    shown: Gallery | None,
) -> str:
    """The page.

    Args:
        report: What it is on.
        title: Its heading.
        notes: What must be known of the figures, a sentence each.
        name: Of the report's run, "" for none.
        drawn: Of ``charts``, and of ``gallery`` curves and maps.
        shown: The gallery, None where there is none.
    """
    from sslx.version import __version__

    environment = Environment(
        autoescape=True,
        loader=PackageLoader("sslx.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rest: dict[str, list] = {"training": [], "map": []}
    for p in drawn:
        if not p.place[0]:
            rest[p.section].append((p, svg(p)))
    rows, records = report.rows, report.records
    own = dict(COLOURS)
    if report.headline and report.headline.theft:
        own["stolen"] = styles(rows)[report.headline.theft][0]
    tested = any(row.n > 1 for row in report.compared)
    return environment.get_template("page.html.j2").render(
        bills=tables.bill_table(records),
        colours=own,
        compared=report.compared if tested else [],
        costs=tables.cost_table(rows),
        differences=tables.difference_table(report.compared) if tested else [],
        encoders=tables.encoder_table(records, report.primary),
        headline=words.headline(report),
        how=words.how(report),
        levels=words.levels(report),
        most=tables.MOST,
        name=name,
        neighbours=gallery.neighbours(shown) if shown else [],
        notes=notes,
        reading=words.reading(rows),
        rest=rest,
        runs=_runs(report),
        seeds=words.seeds(rows),
        sets=_sets(report, drawn),
        settings=tables.settings_table(_determined(report)),
        short=SHORT,
        shown=shown,
        steals=report.steals,
        title=title,
        version=__version__,
        words=words,
    )


def _sets(report: Report, drawn: list[Picture]) -> list[dict[str, Any]]:
    """Of each data set and kind of victim: name, tables, pictures."""
    rows, out = report.rows, []
    several = len({row.kind for row in rows}) > 1
    thefts = styles(rows)
    for place in dict.fromkeys(row[:2] for row in rows):
        own = [row for row in rows if row[:2] == place]
        name, kind = place
        head, *lines = tables.accuracy_table(own, where=False)
        pictures: dict[str, list] = {"accuracy": [], "fidelity": [], "cost": []}
        for p in drawn:
            if p.place == place:
                pictures[p.section].append((p, svg(p)))
        headline = report.headline and report.headline.cell
        out.append(
            {
                "name": f"{short(name)}, {kind}" if several else short(name),
                "full": name,
                "head": head,
                "lines": [
                    (colour(row, thefts), line, row.cell == headline and row.cell)
                    for row, line in zip(own, lines, strict=True)
                ],
                "fidelity": tables.fidelity_table(own, where=False),
                "whole": tables.fidelity_table(own, where=False, whole=True),
                "pictures": pictures,
            }
        )
    return out


def _determined(report: Report) -> dict[str, tuple[Node, dict[str, str]]]:
    """The victim's run and the headline's, with their settings."""
    nodes, first = report.nodes, report.members[0]
    runs = {"victim": nodes.get(first.victim or "")}
    if steal := nodes.get(first.theft or ""):
        parents = {"queries": "responses", "head": "head", "before": "ssl"}
        for word, role in parents.items():
            runs[word] = nodes.get(steal.parents.get(role, ""))
        runs["stealer"] = steal
    return {word: (run, settings_of(run)) for word, run in runs.items() if run}


def _runs(report: Report) -> list[list[str]]:
    """All runs that figures are of, and what they build on."""
    waiting = [m[i] for m in report.members for i in (0, 1)]
    waiting += [key for r in report.records for key in (r.run, r.probe, r.compared)]
    found: set[str] = set()
    if shown := gallery.find(report.nodes, report.members):
        waiting.append(shown.key)
    while waiting:
        key = waiting.pop()
        if key in report.nodes and key not in found:
            found.add(key)
            waiting += report.nodes[key].parents.values()
    return [["stage", "run"], *(key.split("/", 1) for key in sorted(found))]
