"""The report's pictures: drawn once, written as PNG files and as SVG for the page."""

import base64
import io
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.style import context as styled

from sslx.report.gallery import Gallery
from sslx.report.report_text import evaluator, labels, short, who

COLOURS = {
    "victim": "#2b5c8a",
    "independent": "#6f9bb8",
    "random": "#8d99ae",
    "pixels": "#b9bcc4",
}
# Of stolen encoders, one for each attack and loss; none near the victim's blue.
SERIES = (
    "#c8553d",
    "#e0a030",
    "#5b8c5a",
    "#8e5a9b",
    "#2a9d8f",
    "#8a5a44",
    "#d77fa1",
    "#6b705c",
    "#7a1f2b",
    "#b5c334",
    "#1b998b",
    "#f2845c",
    "#5d3a9b",
    "#3d5a3d",
    "#c49bbb",
    "#a07d00",
)
WIDTH = 5.4  # inches; letters of 9 points are still read on a telephone
_OWN: dict[str, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 10,
    "font.size": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "sslx",  # else ids are random, and no two files are alike
    "text.parse_math": False,  # a data set's name may hold a dollar
}
STYLE: list[str | Path | dict[str, Any]] = [
    "default",
    _OWN,
]  # whatever the user's matplotlibrc says


class Picture(NamedTuple):
    """One picture.

    Attributes:
        file: Name of the PNG file.
        dataset: What it is about; "" for the training curves.
        title: Heading.
        alt: What it shows, for who cannot see it.
        figure: The drawing.
    """

    file: str
    dataset: str
    title: str
    alt: str
    figure: Figure


def series(found: dict) -> list[str]:
    """The colour of each cell: one for each attack and loss."""
    names = labels(found["sweep"])
    order = list(dict.fromkeys(names))
    return [SERIES[order.index(name) % len(SERIES)] for name in names]


def _cells(found: dict):
    """Of each cell its entry, name and colour."""
    sweep = found["sweep"]
    return list(zip(sweep, labels(sweep), series(found), strict=True))


def save(picture: Picture, folder: Path) -> None:
    """Writes the PNG file."""
    with styled(STYLE):
        path, metadata = folder / picture.file, {"Software": None}
        picture.figure.savefig(path, dpi=160, metadata=metadata)


def svg(picture: Picture) -> str:
    """The picture as a data URI of an SVG whose letters are shapes."""
    file = io.BytesIO()
    none = {"Date": None, "Creator": None}
    with styled(STYLE):
        picture.figure.savefig(file, format="svg", metadata=none)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def _title(dataset: str) -> str:
    return textwrap.fill(short(dataset), 60)


def _linear(rows: list[dict], dataset: str) -> list[dict]:
    return [r for r in rows if r["dataset"] == dataset and r["evaluator"] == "linear"]


def _error(row: dict) -> tuple[float, float]:
    low, high = row["interval"]
    return 100 * (row["accuracy"] - low), 100 * (high - row["accuracy"])


def _bars(found: dict, dataset: str, file: str) -> Picture:
    others = _linear(found["accuracies"], dataset)
    own = [
        (who(r), COLOURS[r["encoder"]], r) for r in others if r["encoder"] != "stolen"
    ]
    bars = [bar for bar in own if bar[0] == "victim"]
    for cell, told, colour in _cells(found):
        (row,) = _linear(cell["accuracies"], dataset)
        name = textwrap.fill(f"stolen, {told}", 26)
        bars.append((f"{name}\n{cell['budget']:,} queries", colour, row))
    bars += [bar for bar in own if bar[0] != "victim"]
    # Lines of text are the unit, so that a long name does not meet its neighbour.
    size = np.array([1.65 + name.count("\n") for name, _, _ in bars])
    places = np.cumsum(size) - size / 2
    figure = Figure((WIDTH, 0.8 + 0.18 * size.sum()))
    axes = figure.subplots()
    heights = [100 * row["accuracy"] for _, _, row in bars]
    errors = list(zip(*(_error(row) for _, _, row in bars), strict=True))
    axes.barh(
        places,
        heights,
        1.15,
        color=[colour for _, colour, _ in bars],
        xerr=errors,
        capsize=2.5,
        error_kw={"elinewidth": 1},
    )
    for place, height, (_, _, row) in zip(places, heights, bars, strict=True):
        axes.text(100 * row["interval"][1] + 1.5, place, f"{height:.1f}", va="center")
    axes.set_yticks(places, [name for name, _, _ in bars])
    axes.set(xlim=(0, 112), ylim=(size.sum(), 0))
    figure.suptitle(_title(dataset))
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("linear probe, % of test images")
    alt = "; ".join(
        f"{name} {h:.1f} %".replace("\n", " ")
        for (name, _, _), h in zip(bars, heights, strict=True)
    )
    return Picture(file, dataset, f"Accuracy on {dataset}", f"Bars: {alt}", figure)


def budget_ticks(budgets: list[int]) -> list[int]:
    """Those of the budgets that can be labelled side by side on a logarithmic axis."""
    span = np.log(budgets[-1] / budgets[0])
    kept = budgets[-1:]
    for budget in budgets[-2::-1]:
        if np.log(kept[0] / budget) > 0.12 * span:
            kept = [budget, *kept]
    return kept


def _budgets(found: dict, dataset: str, file: str) -> Picture:
    figure = Figure((WIDTH, 3 + 0.12 * len(set(labels(found["sweep"])))))
    axes = figure.subplots()
    lines: dict[tuple[str, str], list] = {}
    levels = {
        who(row): (row, COLOURS[row["encoder"]], "--")
        for row in _linear(found["accuracies"], dataset)
        if row["encoder"] != "stolen"
    }
    for cell, name, colour in _cells(found):
        (row,) = _linear(cell["accuracies"], dataset)
        if cell["budget"] == 0:  # what does not ask is as good at any budget
            levels[name] = (row, colour, ":")
            continue
        lines.setdefault((name, colour), []).append((cell["budget"], row))
    for (name, colour), points in lines.items():
        points.sort(key=lambda p: p[0])
        x, y = zip(*((q, 100 * r["accuracy"]) for q, r in points), strict=True)
        errors = list(zip(*(_error(row) for _, row in points), strict=True))
        drawn = axes.errorbar(x, y, yerr=errors, color=colour, marker="o", capsize=2.5)
        drawn.set_label(textwrap.fill(name, 36))
    for name, (row, colour, style) in levels.items():
        level = 100 * row["accuracy"]
        axes.axhline(level, color=colour, linestyle=style, linewidth=1.2, label=name)
    if "victim" in levels:
        low, high = levels["victim"][0]["interval"]
        axes.axhspan(100 * low, 100 * high, color=COLOURS["victim"], alpha=0.12, lw=0)
    axes.set(xscale="log", xlabel="queries")
    axes.set_ylabel("linear probe, % of test images")
    figure.suptitle(_title(dataset))
    budgets = sorted({cell["budget"] for cell in found["sweep"]} - {0})
    ticks = budget_ticks(budgets)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_xticks([], minor=True)
    figure.legend(loc="outside lower center", ncols=2)
    alt = "; ".join(
        f"{name}: "
        + ", ".join(f"{100 * r['accuracy']:.1f} % at {q:,}" for q, r in points)
        for (name, _), points in lines.items()
    )
    title = f"Accuracy against queries on {dataset}"
    return Picture(file, dataset, title, f"Lines: {alt}", figure)


def _curves(
    found: dict, curves: list[tuple[str, list[dict]]], watched: list[dict], file: str
) -> Picture:
    colours = [COLOURS["victim"], *series(found)]
    panels = [
        (name, "loss", [(r["step"], r["loss"]) for r in rows], colour)
        for colour, (name, rows) in zip(colours, curves, strict=True)
        if rows
    ]
    looks = {
        name: [(r["step"], 100 * r[name]) for r in watched if name in r]
        for name in ("linear", "knn")
    }
    panels[1:1] = [
        ("victim, watched", f"{evaluator(name)}, %", points, COLOURS["victim"])
        for name, points in looks.items()
        if points
    ]
    deep = -(-len(panels) // 2)
    figure = Figure((WIDTH, 1.75 * deep))
    grid = figure.subplots(deep, 2, squeeze=False).ravel()
    for axes, (name, what, points, colour) in zip(grid, panels, strict=False):
        mark = "o" if len(points) < 3 else ""
        axes.plot(*zip(*points, strict=True), color=colour, marker=mark)
        axes.set_title(textwrap.fill(name, 36), fontsize=9)
        axes.locator_params(axis="x", nbins=4, integer=True)
        axes.set(xlabel="step", ylabel=what)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    ends = (f"{name} ends at {p[-1][1]:.3g} ({what})" for name, what, p, _ in panels)
    alt = f"Training against step: {'; '.join(ends)}"
    return Picture(file, "", "Training curves", alt, figure)


def _map(shown: Gallery, encoder: str, title: str) -> Picture:
    classes = np.unique(shown.labels)
    rows = -(-len(classes) // 5)
    figure = Figure((4.4, 4.4 + 0.2 * rows))
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
    axes.set(title=title, aspect="equal")
    axes.spines[:].set(visible=True, color="#c9cbd1")
    figure.legend(
        loc="outside lower center",
        ncols=5,
        columnspacing=1,
        handletextpad=0.2,
        markerscale=2,
    )
    alt = f"{len(points)} test images as the {title} lays them out, coloured by class"
    heading = f"Map of {shown.dataset}: {title}"
    return Picture(f"map-{encoder}.png", shown.dataset, heading, alt, figure)


def draw(
    found: dict,
    curves: list[tuple[str, list[dict]]],
    watched: list[dict],
    shown: Gallery | None,
) -> list[Picture]:
    """Draws the pictures of a report, in the order in which they are shown.

    Args:
        found: results.json.
        curves: (title of a training run, its logged rows), the victim's first; without
            rows, as of a victim from elsewhere, it is not drawn.
        watched: Rows of the victim's watch; none where it was not watched.
        shown: The gallery, None where there is none.
    """
    datasets = dict.fromkeys(r["dataset"] for r in found["accuracies"])
    several = len({cell["budget"] for cell in found["sweep"]} - {0}) > 1
    pictures = []
    with styled(STYLE):
        for i, dataset in enumerate(datasets):
            pictures.append(_bars(found, dataset, f"accuracy{i}.png"))
            if several:
                pictures.append(_budgets(found, dataset, f"queries{i}.png"))
        if any(rows for _, rows in curves):
            pictures.append(_curves(found, curves, watched, "curves.png"))
        titles = {"victim": "victim", "stolen": "stolen encoder"}
        if shown is not None:
            pictures += [_map(shown, e, titles[e]) for e in shown.maps]
    return pictures
