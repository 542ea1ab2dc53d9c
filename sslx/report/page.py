"""report.html, one page that asks nothing of any other host, and report.md."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sslx.report import chosen, tables, words
from sslx.report.aggregate import Row, baselines
from sslx.report.defended import tables as defended
from sslx.report.labels import evaluator, settings_of, short
from sslx.report.pictures import gallery
from sslx.report.pictures.drawing import COLOURS, Picture, colour, styles, svg
from sslx.report.pictures.gallery import Gallery
from sslx.report.records import stands_beside, times_of
from sslx.report.words import Report
from sslx.version import __version__

SHORT = 12  # lines of a table that is not folded


def render(
    report: Report,
    title: str,
    notes: list[str],
    name: str,
    drawn: list[Picture],
    shown: Gallery | None,
) -> dict[str, str]:
    """The page and its like in Markdown, by the names of their files.

    Args:
        report: What they are on.
        title: Their heading.
        notes: What must be known of the figures, a sentence each.
        name: Of the report's run, "" for none.
        drawn: Of ``charts``, and of ``gallery`` curves and maps.
        shown: The gallery, None where there is none.
    """
    first, rows = report.headline, report.encoders
    records = [r for r in report.records if r.role != "honest"]
    # Of one seed there is nothing to test.
    compared = report.compared if any(row.n > 1 for row in report.compared) else []
    known = {
        "accuracy": tables.accuracy_table(rows),
        "asked": report.nodes[first.asked] if first and first.asked else None,
        "bills": tables.bill_table(records),
        "chosen": chosen.table(report.choices, records, report.primary),
        "colours": COLOURS | {"stolen": colour(first, styles(rows)) if first else ""},
        "compared": compared,
        "costs": tables.cost_table(rows),
        "differences": tables.difference_table(compared) if compared else [],
        "drawn": drawn,
        "encoders": tables.encoder_table(records, report.primary),
        "fidelity": tables.fidelity_table(rows),
        "first": first,
        "frontier": defended.frontier_table(report.frontier) if report.frontier else [],
        "uses": defended.use_table(report.frontier) if report.frontier else [],
        "detected": defended.detected_table(report.detected) if report.detected else [],
        "near": tables.nearness_table(report.near) if report.near else [],
        "kind": first.kind if first else rows[0].kind,
        "most": tables.MOST,
        "name": name,
        "neighbours": gallery.neighbours(shown) if shown else [],
        "notes": notes,
        "probe": evaluator(report.primary),
        "published": tables.published_table(report.published)
        if report.published
        else [],
        "reading": words.reading(rows),
        "report": report,
        "roles": {row.role for row in rows},
        "runs": _runs(report),
        "seeds": words.seeds(rows),
        "senders": words.senders(report),
        "sets": _sets(report),
        "settings": _settings(report),
        "short": SHORT,
        "shown": shown,
        "title": title,
        "version": __version__,
    }
    return {f: _template(f).render(known) for f in ("report.html", "report.md")}


def _template(file: str) -> Template:
    """That of a file; what it and the prose say is escaped for HTML, not Markdown."""
    environment = Environment(
        autoescape=file.endswith(".html"),
        loader=PackageLoader("sslx.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable] = {"pipes": tables.pipes, "svg": svg}
    filters["line"] = lambda text: type(text)(" ").join(text.split())
    environment.filters |= filters
    return environment.get_template(f"{file}.j2")


def _sets(report: Report) -> list[dict[str, Any]]:
    """Of each data set and kind of victim: name, rows and tables."""
    rows, first, out = report.encoders, report.headline, []
    best = baselines(rows, report.primary)
    several, thefts = len({row.kind for row in rows}) > 1, styles(report.encoders)
    for place in dict.fromkeys(row[:2] for row in rows):
        own = [row for row in rows if row[:2] == place]
        there = [row for row in best if row[:2] == place]
        found = [
            (r, r.figures[report.primary]) for r in there if report.primary in r.figures
        ]
        name = short(place[0])
        out.append(
            {
                "place": place,
                "name": f"{name}, {place[1]}" if several else name,
                "found": found,
                "beside": _beside(found, first.cell if first else None),
                "rows": [(row, colour(row, thefts)) for row in own],
                "accuracy": tables.accuracy_table(own, where=False),
                "fidelity": tables.fidelity_table(own, where=False),
                "whole": tables.fidelity_table(own, where=False, whole=True),
            }
        )
    return out


def _beside(found: list[tuple[Row, Any]], cell: str | None) -> list[tuple[Row, Any]]:
    """What a headline is set beside.

    Of who asked nobody, those on its images, or on the whole pool, in as many passes or
    a whole number of times as many; passes that are not known are no reason against.
    """
    own = next((row for row, _ in found if cell and row.cell == cell), None)

    def fits(row: Row) -> bool:
        if own is None or row.role != "alone":
            return row is not own
        if row is own or not stands_beside(own.own, row.own):
            return False
        if not row.passes or not own.passes:
            return True
        return times_of(row.passes, own.passes) is not None

    return [(row, figure) for row, figure in found if fits(row)]


def _settings(report: Report) -> tables.Lines:
    """What determined the victim's run and the headline's: a line for each key."""
    nodes, first = report.nodes, report.members[0]
    steal = nodes.get(first.theft or "")
    before = {"queries": "responses", "head": "head", "before": "ssl"}
    keys = {word: steal.parents.get(r) for word, r in before.items()} if steal else {}
    keys = {"victim": first.victim, **keys, "stealer": first.theft}
    columns = {
        word: {"seed": str(nodes[key].recipe.get("seed", ""))} | settings_of(nodes[key])
        for word, key in keys.items()
        if key in nodes
    }
    lines = dict.fromkeys(key for column in columns.values() for key in column)
    head = ["setting", *columns]
    return [
        head,
        *([key, *(c.get(key, "") for c in columns.values())] for key in lines),
    ]


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
