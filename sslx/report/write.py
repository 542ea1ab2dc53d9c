"""A report's files, from finished runs alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslx.report import chosen, tables, words
from sslx.report.aggregate import Row, aggregate
from sslx.report.collect import collect
from sslx.report.compare import beside_published, differences, nearness
from sslx.report.defended import detected, frontier
from sslx.report.labels import short
from sslx.report.records import Member
from sslx.report.words import Report
from sslx.runs.files import read_json, replacing, write_json, write_meta
from sslx.runs.lineage import Node, read_node
from sslx.runs.locks import working_on
from sslx.runs.names import Run

SCHEMA = 3  # of results.json


def make(run: Run) -> None:
    """Makes the report that a run of the stage report asks for.

    Its recipe names the members, headline first, what stands ``alone`` beside them, in
    the form of members, and what was left out; its parents
    are the runs that belong, all that they build on among them.

    Raises:
        UserError: One of them is not finished, or nothing has been probed.
    """
    r = run.recipe
    n = len(r["members"])
    with working_on(run, f"{n} combination{'s' * (n > 1)}") as needed:
        if not needed:
            return
        found = [read_node(parent.path) for parent in run.parents.values()]
        remade(r, {node.key: node for node in found}, run.path, run.name)
        write_meta(run, finished=True)


def remade(r: dict[str, Any], nodes: dict[str, Node], folder: Path, name="") -> str:
    """``write``, as the recipe of a report's run says."""
    members = members_of(r)
    notes = [f"{name} was not at hand and is left out." for name in r["skipped"]]
    notes += [
        f"The victim is not probed on {short(name)}: {n} of its images were not asked "
        "of it."
        for name, n in r["unanswered"].items()
    ]
    title = f"Study {r['name']}" if r["name"] else words.title(nodes, members)
    given = {key: r[key] for key in ("primary", "names", "skipped")}
    given["published"] = r.get("published")
    return write(folder, nodes, members, title=title, notes=notes, name=name, **given)


def members_of(recipe: dict[str, Any]) -> list[Member]:
    """The members that a report's recipe names, with what stands alone beside them."""
    found = [*recipe["members"], *recipe.get("alone", [])]
    return [Member(m["victim"], m["theft"], m["changes"]) for m in found]


def write(
    folder: Path,
    nodes: dict[str, Node],
    members: list[Member],
    *,
    title: str,
    primary: str = "linear",
    names: dict[str, str] | None = None,
    notes: list[str] | None = None,
    skipped: list[str] | None = None,
    name: str = "",
    published: list[dict[str, Any]] | None = None,
) -> str:
    """Writes report.html, report.md, results.json, CSV files and pictures.

    Args:
        folder: Where to; created where missing.
        nodes: The runs that belong, by key, with all that they build on.
        members: Whom to judge against whom, the headline first.
        title: Heading of the report.
        primary: The evaluator of headline, ratios and comparisons.
        names: Fingerprint of a data set's identity -> its name.
        notes: What must be known of the figures, a sentence each.
        skipped: Data sets that were not at hand.
        name: Of the report's run, for who cites it.
        published: Figures of others, entries of ``sslx.types.Published``.

    Returns:
        The table of accuracies, for a terminal.

    Raises:
        UserError: Nothing that is to be judged has a finished probe.
    """
    records = collect(nodes, members, primary, names)
    # matplotlib takes a second to import
    from sslx.report import page
    from sslx.report.pictures import charts, drawing, gallery
    from sslx.report.pictures import frontier as pictured_frontier

    rows, compared = aggregate(records, primary), differences(records, primary)
    near = nearness(records)
    others = beside_published(published or [], rows, primary)
    choices = chosen.choices(nodes, members)
    study = frontier.Study(records, rows, nodes, primary)
    defended = frontier.frontier(study)
    seen = detected.detected(study)
    found = records, rows, compared, near, others, choices, defended, seen
    report = Report(nodes, members, primary, *found)
    own = drawing.styles(rows)
    drawn = charts.draw(report.encoders, records, own, primary)
    drawn += pictured_frontier.draw(defended, rows, primary)
    curves = gallery.curves(nodes, records, own)
    pictured = gallery.find(nodes, members)
    shown = gallery.read(pictured) if pictured else None
    drawn += [curves] if curves else []
    drawn += gallery.maps(shown) if shown else []
    notes = [*(notes or []), *words.notes(report)]
    folder.mkdir(parents=True, exist_ok=True)
    for picture in drawn:
        drawing.save(picture, folder)
    files = page.render(report, title, notes, name, drawn, shown)
    told = {"title": title, "notes": notes, "skipped": skipped or []}
    figures = results(report) | told
    files["results.csv"] = tables.results_csv(figures["rows"])
    if compared:
        files["differences.csv"] = tables.differences_csv(compared)
    for file_name, text in files.items():
        with replacing(folder / file_name) as file:
            file.write(text.encode())
    write_json(folder / "results.json", figures)
    return table_text(folder)


def results(report: Report) -> dict[str, Any]:
    """What results.json holds; docs/analysis.md has it."""
    counters: dict[str, list[dict]] = {}
    for run, r in {r.run: r for r in report.records if r.accounts and r.cell}.items():
        own = counters.setdefault(r.cell or "", [])
        own.append({"seed": r.seed, "run": run, "accounts": r.accounts})
    records = [
        r._asdict() | {"scores": {e: s._asdict() for e, s in r.scores.items()}}
        for r in report.records
    ]
    return {
        "schema": SCHEMA,
        "headline": report.headline.cell if report.headline else None,
        "primary": report.primary,
        "rows": [flat for row in report.rows for flat in _flat(row)],
        "counters": counters,
        "table": tables.accuracy_table(report.encoders),
        "differences": [row._asdict() for row in report.compared],
        "nearness": [row._asdict() for row in report.near],
        "published": report.published,
        "chosen": chosen.in_json(report.choices),
        "frontier": frontier.in_json(report.frontier),
        "detected": detected.in_json(report.detected),
        "records": records,
    }


def _flat(row: Row) -> Iterator[dict[str, Any]]:
    """An entry for each evaluator of a row."""
    rest = row._asdict()
    del rest["figures"], rest["own"]
    for key in ("of_victim", "gain", "gain_long"):
        rest[key] = rest[key] and rest[key]._asdict()
    rest["fidelity"] = {m: figure._asdict() for m, figure in row.fidelity.items()}
    for name, f in row.figures.items():
        interval = None if f.low is None else [f.low, f.high]
        figure = {"evaluator": name, "accuracy": f.mean, "interval": interval}
        figure |= {"interval_kind": f.by, "n_test": f.n_test, "n": f.n}
        yield figure | rest


def table_text(folder: Path) -> str:
    """The table of accuracies of a finished report, for a terminal."""
    return tables.plain(read_json(folder / "results.json")["table"])
