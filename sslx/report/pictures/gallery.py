"""What a report shows of the networks themselves: trainings, neighbours, maps."""

import base64
import io
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled
from PIL import Image

from sslx.report.labels import evaluator
from sslx.report.pictures.drawing import COLOURS, STYLE, WIDTH, Picture, Styles
from sslx.report.records import THEFTS, Member, Record
from sslx.runs.lineage import Node
from sslx.train.logbook import ROWS, WATCHED, read_rows

THUMBNAIL = 64  # pixels of an image's longer side; larger ones are made smaller
FILE = "gallery.npz"
ENCODERS = ("victim", "stolen")


class Gallery(NamedTuple):
    """Test images and where two encoders put them; n images, m queries, k neighbours.

    Attributes:
        dataset: Its name.
        images: uint8 (n, h, w, c).
        labels: (n,).
        classes: Number of classes of the set; ``labels`` may hold fewer.
        copies: Whether some images show the same original; these are no neighbours.
        queries: (m,) rows of ``images``.
        near: Encoder (victim, stolen) -> (n, k) rows of ``images``, nearest first.
        agree: Encoder -> share of all n * k neighbours that are of the image's class.
        shared: Share of the victim's neighbours that are the stolen encoder's as well;
            1 without a theft.
        maps: Encoder -> (n, 2) points; the stolen encoder's turned onto the victim's.
    """

    dataset: str
    images: np.ndarray
    labels: np.ndarray
    classes: int
    copies: bool
    queries: np.ndarray
    near: dict[str, np.ndarray]
    agree: dict[str, float]
    shared: float
    maps: dict[str, np.ndarray]


def find(nodes: dict[str, Node], members: list[Member]) -> Node | None:
    """The gallery of the first combination that has one."""
    made = {
        (node.parents.get("victim"), node.parents.get("stolen")): node
        for node in nodes.values()
        if node.stage == "gallery" and "classes" in node.meta.get("gallery", {})
    }
    return next((made[m[:2]] for m in members if m[:2] in made), None)


def read(node: Node) -> Gallery:
    """What a run of the stage gallery has found."""
    meta = node.meta["gallery"]
    with np.load(node.path / FILE, allow_pickle=False) as file:
        arrays = dict(file)
    near, maps = (
        {e: arrays[f"{what}_{e}"] for e in ENCODERS if f"{what}_{e}" in arrays}
        for what in ("near", "map")
    )
    return Gallery(
        *(meta["dataset"], arrays["images"], arrays["labels"]),
        *(meta["classes"], meta["copies"], arrays["queries"]),
        *(near, meta["agree"], meta["shared"], maps),
    )


def thumbnail(image: np.ndarray) -> str:
    """An image as a data URI of a PNG file; uint8 (h, w, 1) or (h, w, 3)."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def neighbours(shown: Gallery) -> list[dict[str, Any]]:
    """Of each image shown: its thumbnail, class and neighbours under each encoder."""

    def entry(row: int, wanted: int) -> dict[str, Any]:
        own = int(shown.labels[row])
        uri = thumbnail(shown.images[row])
        return {"uri": uri, "label": own, "agrees": own == wanted}

    out = []
    for query in shown.queries.tolist():
        wanted = int(shown.labels[query])
        near = {
            encoder: [entry(row, wanted) for row in rows[query].tolist()]
            for encoder, rows in shown.near.items()
        }
        out.append({**entry(query, wanted), "near": near})
    return out


def maps(shown: Gallery) -> list[Picture]:
    """Both maps, on one scale."""
    with styled(STYLE):
        return [_map(shown, encoder) for encoder in shown.maps]


def _map(shown: Gallery, encoder: str) -> Picture:
    classes = np.unique(shown.labels)
    figure = Drawing((4.4, 4.4 + 0.2 * -(-len(classes) // 5)))
    axes = figure.subplots()
    points = shown.maps[encoder]
    for i, k in enumerate(classes):
        own = points[shown.labels == k]
        colour = colormaps["tab10"](i)
        axes.scatter(
            own[:, 0], own[:, 1], s=9, color=colour, alpha=0.8, lw=0, label=f"class {k}"
        )
    # One scale for both maps, each in the middle of its frame.
    ends = {e: (p.min(0), p.max(0)) for e, p in shown.maps.items()}
    half = 0.53 * max((high - low).max() for low, high in ends.values()) or 1.0
    x, y = (ends[encoder][0] + ends[encoder][1]) / 2
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[])
    title = "victim" if encoder == "victim" else "stolen encoder"
    axes.set(title=title, aspect="equal")
    axes.spines[:].set(visible=True, color="#c9cbd1")
    figure.legend(
        loc="outside lower center",
        ncols=5,
        columnspacing=1,
        handletextpad=0.2,
        markerscale=2,
    )
    return Picture(
        *(f"map-{encoder}.png", "map", f"Map of {shown.dataset}: {title}"),
        alt=f"{len(points)} test images as the {title} lays them out, by class",
        caption="Victim: a point is a test image, its colour the class; encoders never "
        "saw the class."
        if encoder == "victim"
        else "Stolen encoder, the map turned and mirrored as a whole so that it lies "
        "nearest the victim's map (orthogonal Procrustes); nothing was stretched or "
        "bent.",
        figure=figure,
    )


Points = list[tuple[int, float]]


Panel = tuple[str, str, str, list[tuple[Points, float]]]


def curves(
    nodes: dict[str, Node], records: list[Record], own: Styles
) -> Picture | None:
    """Loss, and what was watched, against step: a panel for each theft; None for none.

    Victims stand first; what has no log, as a victim from elsewhere, is left out.
    """
    panels = [panel for panel in _panels(nodes, records, own) if panel[-1]]
    if not panels:
        return None
    with styled(STYLE):
        deep = -(-len(panels) // 2)
        figure = Drawing((WIDTH, 1.75 * deep))
        grid = figure.subplots(deep, 2, squeeze=False).ravel()
        for axes, (title, what, colour, lines) in zip(grid, panels, strict=False):
            for points, dark in lines:
                mark = "o" if len(points) < 3 else ""
                x, y = zip(*points, strict=True)
                axes.plot(x, y, color=colour, alpha=dark, marker=mark, lw=1.2)
            axes.set_title(textwrap.fill(title, 34), fontsize=9)
            axes.locator_params(axis="x", nbins=4, integer=True)
            axes.set(xlabel="step", ylabel=what)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
    ends = (
        f"{title} ends at {', '.join(f'{line[-1][1]:.3g}' for line, _ in lines)} "
        f"({what})"
        for title, what, _, lines in panels
    )
    stolen = any(r.role in THEFTS for r in records)
    caption = "Loss against step of each network trained here, a line for each run."
    if stolen:
        caption += (
            " The fewer queries, the paler. Losses of different kinds have different "
            "units: a curve tells whether its training had settled, not which stealer "
            "is the better."
        )
    if any(what != "loss" for _, what, *_ in panels):
        caption += (
            " Watched: accuracy of a vote of nearest neighbours, or of a linear probe, "
            "among training images."
        )
    alt = f"Training against step: {'; '.join(ends)}"
    return Picture(*("curves.png", "training", "Training curves", alt, caption, figure))


def _panels(
    nodes: dict[str, Node], records: list[Record], own: Styles
) -> Iterator[Panel]:
    """Title, axis, colour and lines (points, how dark) of victims and thefts."""
    victims = dict.fromkeys(r.victim for r in records if r.victim)

    def logged(key: str, name: str, file: str = ROWS) -> Points:
        rows = read_rows(nodes[key].path, file)
        times = 100 if file == WATCHED else 1
        return [(r["step"], times * r[name]) for r in rows if name in r]

    for name, file in (("loss", ROWS), ("linear", WATCHED), ("knn", WATCHED)):
        found = [(logged(key, name, file), 1.0) for key in victims]
        title, axis = "victim", name
        if file == WATCHED:
            title, axis = "victim, watched", f"{evaluator(name)}, %"
        yield title, axis, COLOURS["victim"], [line for line in found if line[0]]
    most = max((r.queries or 0 for r in records), default=0)
    for theft, (colour, _) in own.items():
        runs = {r.run: r for r in records if r.theft == theft and r.role in THEFTS}
        lines = [
            (logged(key, "loss"), 0.4 + 0.6 * (r.queries / most) ** 0.5)
            if r.queries
            else (logged(key, "loss"), 1.0)
            for key, r in runs.items()
        ]
        yield f"stealer, {theft}", "loss", colour, [line for line in lines if line[0]]
