"""Stage report: results.json, report.md and report.html, from finished runs."""

from functools import partial

from ml_collections import ConfigDict

from sslx.experiment.experiment import Experiment
from sslx.report import gallery
from sslx.report.markdown import markdown
from sslx.report.report_text import labels
from sslx.runs.files import read_json, write_json, write_meta
from sslx.runs.locks import working_on
from sslx.stages.probe import compared
from sslx.stages.query import bill, total
from sslx.stages.work import Work
from sslx.train.logbook import WATCHED, read_rows


def results(experiment: Experiment) -> dict:
    """What results.json holds.

    ``accuracies``, ``attack``, ``loss``, ``queries`` and ``accounts`` are the
    headline's; ``sweep`` has an entry for each cell, the headline first, with the
    stolen encoder's accuracies and its bill: the counters of each account, and of all
    together in ``queries``, None where the victim is not asked. Without a theft,
    these are None and ``sweep`` is empty. ``fidelity`` has how alike the victim and
    the encoders that were not stolen are, a cell's own that of its stolen encoder.
    """
    rows: dict[int | None, list[dict]] = {}
    likeness: dict[int | None, list[dict]] = {}
    for probe in experiment.probes:
        cell = probe.cell if probe.encoder == "stolen" else None
        # The name is this config's: the run may have met the set at another place.
        whose = {"encoder": probe.encoder, "dataset": probe.dataset}
        meta = read_json(probe.run.path / "meta.json")
        seed = experiment.report.recipe["seed"]
        if probe.encoder == "independent":
            assert probe.cell is not None
            seed = experiment.independent[probe.cell].recipe["seed"]
        rows.setdefault(cell, []).extend(
            whose | row | whose | {"seed": seed} for row in meta["results"]
        )
        if probe.fidelity is not None:
            likeness.setdefault(cell, []).append(
                whose | compared(probe.fidelity) | whose | {"seed": seed}
            )
    bills = [bill(cell.responses) for cell in experiment.cells]
    asked = [cell.responses and cell.responses.recipe for cell in experiment.cells]
    sweep = [
        {
            "attack": cell.attack,
            "loss": cell.loss,
            "pool": cell.pool,
            "budget": cell.queries,
            "change": cell.change,
            "output": r and r["output"],
            "queries": r and total(bills[i], r),
            "accounts": bills[i],
            "accuracies": rows[i],
            "fidelity": likeness.get(i, []),
        }
        for i, (cell, r) in enumerate(zip(experiment.cells, asked, strict=True))
    ]
    order = ("victim", "stolen", "independent", "random", "pixels")
    shown = rows[None] + rows.get(0, [])
    headline = sorted(shown, key=lambda row: order.index(row["encoder"]))
    return {
        "accuracies": headline,
        **{
            key: sweep[0][key] if sweep else None
            for key in ("attack", "loss", "queries", "accounts")
        },
        "sweep": sweep,
        "fidelity": likeness.get(None, []),
        "skipped": experiment.skipped,
    }


def works(experiment: Experiment, config: ConfigDict) -> list[Work]:
    """The report of the experiment."""
    return [Work((experiment.report,), partial(_write, experiment, config))]


def _write(experiment: Experiment, config: ConfigDict) -> None:
    report = experiment.report
    with working_on(report, f"{len(experiment.probes)} probes") as needed:
        if not needed:
            return
        from sslx.report import page, pictures  # matplotlib takes a second to import

        found = results(experiment)
        curves = [("victim", read_rows(experiment.victim.path))]
        for cell, name in zip(experiment.cells, labels(found["sweep"]), strict=True):
            title = f"stealer, {name}, {cell.queries:,} queries"
            curves.append((title, read_rows(cell.steal.path)))
        watched = read_rows(experiment.victim.path, WATCHED)
        shown = gallery.make(experiment, config)
        drawn = pictures.draw(found, curves, watched, shown)
        for picture in drawn:
            pictures.save(picture, report.path)
        names = {picture.title: picture.file for picture in drawn}
        (report.path / "report.md").write_text(markdown(experiment, found, names))
        text = page.html(experiment, found, drawn, watched, shown)
        (report.path / "report.html").write_text(text, "utf-8")
        write_json(report.path / "results.json", found)
        write_meta(report, finished=True)
