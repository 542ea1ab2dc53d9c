"""report.html: the report as one page that asks nothing of any other host."""

import base64
import io
from itertools import groupby

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from sslx.experiment.experiment import Experiment
from sslx.report.gallery import Gallery
from sslx.report.likeness import FIDELITY, fidelity_table
from sslx.report.pictures import COLOURS, Picture, series, svg
from sslx.report.report_text import bill_table, doubts, labels, short, table, told

THUMBNAIL = 64  # pixels of an image's longer side; larger ones are made smaller


def template(name: str) -> Template:
    """One of the templates beside this file."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("sslx.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def thumbnail(image: np.ndarray) -> str:
    """An image as a data URI of a PNG file; uint8 (h, w, 1) or (h, w, 3)."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _tables(found: dict, drawn: list[Picture]) -> list[dict]:
    """Of each data set: its name, lines of the table, headline figures and pictures."""
    head, *lines = table(found)
    out = []
    for name, group in groupby(lines, key=lambda line: line[0]):
        own = [line[1:] for line in group]
        rows = [r for r in found["accuracies"] if r["dataset"] == name]
        who = [line[0].partition(",")[0] for line in own]
        stolen = iter(series(found))
        colours = [next(stolen) if e == "stolen" else COLOURS[e] for e in who]
        headline = who.index("stolen") if "stolen" in who else None
        pictures = [p for p in drawn if p.dataset == name and "map-" not in p.file]
        out.append(
            {
                "name": name,
                "short": short(name),
                "n_test": rows[0]["n_test"],
                "head": head[1:],
                "lines": list(zip(colours, own, strict=True)),
                # The linear rows of those that are probed here.
                "linear": {r["encoder"]: r for r in rows if r["evaluator"] == "linear"},
                "headline": headline,  # its line
                "share": own[headline][-1] if headline is not None else "",
                "pictures": [(p, svg(p)) for p in pictures],
            }
        )
    return out


def _notes(found: dict) -> list[str]:
    """What must be known of the figures, a sentence for each kind."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for encoder, dataset, why in doubts(found):
        kinds.setdefault(why, {}).setdefault(short(dataset), []).append(encoder)
    notes = []
    for why, where in kinds.items():
        places = (f"{', '.join(who)} on {name}" for name, who in where.items())
        notes.append(f"{why[:1].upper()}{why[1:]}: {'; '.join(places)}.")
    return notes


def _probes(found: dict) -> list[list[str]]:
    """How each linear probe was solved: a header, then a line for each."""
    lines = [["data set", "encoder", "L2 strength", "converged", "at the grid's end"]]
    cells = list(zip(found["sweep"], labels(found["sweep"]), strict=True))
    rows = [(r, cells[:1]) for r in found["accuracies"]]
    rows += [(r, [cell]) for cell in cells[1:] for r in cell[0]["accuracies"]]
    for row, of in rows:
        if row["evaluator"] != "linear":
            continue
        who = row["encoder"]
        if who == "stolen":
            ((cell, name),) = of
            who += f", {name}, {cell['budget']:,} queries"
        words = ["yes" if row[key] else "no" for key in ("converged", "l2_at_edge")]
        lines.append([short(row["dataset"]), who, f"{row['l2']:g}", *words])
    return lines


def _flat(recipe: dict, path: str = "") -> dict[str, str]:
    """A recipe as ``dotted.key -> value``."""
    out: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, list) and any(isinstance(v, dict) for v in value):
            value = dict(enumerate(value))  # a recipe of views, one an image
        if isinstance(value, dict):
            out |= _flat(value, f"{path}{key}.")
        elif isinstance(value, list):
            out[path + key] = ", ".join(f"{v:.6g}" for v in value)
        elif isinstance(value, float):
            out[path + key] = f"{value:.6g}"
        else:
            out[path + key] = "none" if value is None else str(value)
    return out


def _settings(experiment: Experiment) -> list[list[str]]:
    """What determined victim and headline: a header, then a line for each key."""
    runs = {"victim": experiment.victim}
    for cell in experiment.cells[:1]:
        more = {"queries": cell.responses, "head": cell.head, "stealer": cell.steal}
        runs |= {word: run for word, run in more.items() if run}
        if "ssl" in cell.steal.parents:
            runs["before"] = cell.steal.parents["ssl"]
    columns = [_flat(run.recipe) for run in runs.values()]
    keys = dict.fromkeys(key for column in columns for key in column)
    lines = [[key, *(c.get(key, "") for c in columns)] for key in keys]
    return [["setting", *runs], *lines]


def _neighbours(shown: Gallery) -> list[dict]:
    """Of each image shown: its thumbnail, class and neighbours under each encoder."""
    queries = shown.queries.tolist()
    near = {encoder: rows[queries].tolist() for encoder, rows in shown.near.items()}

    def entry(row: int, wanted: int) -> dict:
        own = int(shown.labels[row])
        uri = thumbnail(shown.images[row])
        return {"uri": uri, "label": own, "agrees": own == wanted}

    out = []
    for i, query in enumerate(queries):
        wanted = int(shown.labels[query])
        beside = {
            encoder: [entry(row, wanted) for row in rows[i]]
            for encoder, rows in near.items()
        }
        out.append({**entry(query, wanted), "near": beside})
    return out


def html(
    experiment: Experiment,
    found: dict,
    drawn: list[Picture],
    watched: list[dict],
    shown: Gallery | None,
) -> str:
    """The page.

    Args:
        experiment: Whose names and settings it tells.
        found: results.json.
        drawn: Of ``pictures.draw``.
        watched: Rows of the victim's watch.
        shown: The gallery, None where there is none.
    """
    from sslx.version import __version__

    rest = {p.file: (p, svg(p)) for p in drawn if not p.dataset or "map-" in p.file}
    report, victim = experiment.report, told(experiment)
    return template("page.html.j2").render(
        bill=bill_table(found),
        cell=found["sweep"][0] if found["sweep"] else None,
        colours=COLOURS | dict(zip(["stolen"], series(found), strict=False)),
        confidence=f"{report.recipe['confidence']:.0%}".replace("%", " %"),
        curves=rest.pop("curves.png", None),
        about_likeness=FIDELITY,
        likeness=fidelity_table(found),
        label=[*labels(found["sweep"]), ""][0],
        maps=list(rest.values()),
        name=report.name,
        neighbours=_neighbours(shown) if shown is not None else [],
        notes=victim.notes + _notes(found),
        probes=_probes(found),
        queries=found["queries"],
        runs=[(role, f"{r.stage}/{r.name}") for role, r in report.parents.items()],
        seed=report.recipe["seed"],
        sets=_tables(found, drawn),
        settings=_settings(experiment),
        skipped=found["skipped"],  # probe sets that were not at hand
        several=len(found["sweep"]) > 1,
        shown=shown,
        steal=experiment.cells[0].steal.recipe if experiment.cells else None,
        unanswered=bool(experiment.unanswered),
        version=__version__,
        victim=victim,
        watched=bool(watched),
    )
