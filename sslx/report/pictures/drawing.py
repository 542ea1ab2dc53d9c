"""What all pictures share: colours, marks, levels, legends, how they are written."""

import base64
import io
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled

from sslx.report.aggregate import Figure, Row
from sslx.report.labels import evaluator
from sslx.report.records import THEFTS, Record
from sslx.runs.files import replacing

COLOURS = {
    "victim": "#2b5c8a",
    "honest": "#5b8c9b",
    "independent": "#3f7f7f",
    "untrained": "#707a8a",
    "pixels": "#a2a6b0",
    "majority": "#c4c7cd",
}
STROKES: dict[str, Any] = {
    "victim": "--",
    "honest": (0, (6, 1.5, 1, 1.5)),
    "independent": "-.",
    "untrained": (0, (5, 2)),
    "pixels": (0, (1, 1.5)),
    "majority": (0, (1, 3)),
}
# Told apart by people who see fewer colours, too, and by their marks in any case;
# mostly Okabe and Ito's. None near the victim's blue.
SERIES = (
    *("#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#1d2530", "#7a4b00"),
    *("#7f3c8d", "#9a9a00", "#a51e3b", "#5d3a9b", "#8a5a44", "#6b705c"),
)
MARKS = "osD^vPX*<>ph"
WIDTH = 5.4  # inches; letters of 9 points are still read on a telephone
_OWN: dict[str, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 10,
    "font.size": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "sslx",  # else ids are random, and no two files are alike
    "text.parse_math": False,  # a data set's name may hold a dollar
}
# Whatever the user's matplotlibrc says.
STYLE: list[str | Path | dict[str, Any]] = ["default", _OWN]


class Picture(NamedTuple):
    """One picture.

    Attributes:
        file: Name of the PNG file.
        section: Of the page: accuracy, fidelity, cost, training or map.
        title: Heading.
        alt: What it shows, for who cannot see it.
        caption: What is to be seen in it.
        figure: The drawing.
        place: Data set and kind of victim; empty where it is of none alone.
    """

    file: str
    section: str
    title: str
    alt: str
    caption: str
    figure: Drawing
    place: tuple[str, str] = ("", "")


Styles = dict[str, tuple[str, str]]  # theft -> colour and mark


class Part(NamedTuple):
    """What is drawn together.

    Attributes:
        rows: Of the aggregate, of one data set and kind of victim.
        records: Theirs.
        title: Above the drawing.
        of: The same for a heading.
        styles: Theft -> colour and mark.
        primary: The evaluator that is drawn.
    """

    rows: list[Row]
    records: list[Record]
    title: str
    of: str
    styles: Styles
    primary: str

    def thefts(self, asking: bool = True) -> list[Row]:
        """Those that asked, or those that did not."""
        own = [row for row in self.rows if row.role in THEFTS]
        return [row for row in own if bool(row.queries) == asking]

    @property
    def budgets(self) -> list[int]:
        """The different numbers of queries, ascending."""
        return sorted({row.queries or 0 for row in self.thefts()})

    @property
    def label(self) -> str:
        """What the axis of accuracies says."""
        return f"{evaluator(self.primary)} probe, % of test images"

    def accuracy(self, row: Row) -> Figure | None:
        """By the primary evaluator."""
        return row.figures.get(self.primary)


def styles(rows: list[Row]) -> Styles:
    """The same in all pictures of a report."""
    names = dict.fromkeys(row.theft for row in rows if row.role in THEFTS)
    return {
        name: (SERIES[i % len(SERIES)], MARKS[i % len(MARKS)])
        for i, name in enumerate(filter(None, names))
    }


def colour(of: Row | Record, own: Styles) -> str:
    """That of an encoder."""
    return own[of.theft or ""][0] if of.role in THEFTS else COLOURS[of.role]


def level(axes: Axes, row: Row, figure: Figure, own: Styles, *, across: bool) -> None:
    """A line for what has no budget; the victim's and thefts' with their bands."""
    line, span = (
        (axes.axhline, axes.axhspan) if across else (axes.axvline, axes.axvspan)
    )
    theft = row.name in own
    line(
        100 * figure.mean,
        color=colour(row, own),
        linestyle=":" if theft else STROKES[row.role],
        linewidth=1.3,
        label=row.name,
        zorder=1,
    )
    if figure.low is not None and (theft or row.role == "victim"):
        ends = 100 * figure.low, 100 * (figure.high or 0)
        span(*ends, color=colour(row, own), alpha=0.1, lw=0, zorder=0)


def legend(figure: Drawing, axes: Axes) -> int:
    """Names below the drawing, whole; says how many lines they take."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return 0
    ncols = 2 if max(map(len, labels)) > 22 else 3
    labels = [textwrap.fill(text, 38 if ncols == 2 else 24) for text in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols)
    deepest = max(text.count("\n") + 1 for text in labels)
    return deepest * -(-len(labels) // ncols)


def budget_ticks(budgets: list[int]) -> list[int]:
    """Those of the budgets that can be labelled side by side on a logarithmic axis."""
    span = np.log(budgets[-1] / budgets[0])
    kept = budgets[-1:]
    for budget in budgets[-2::-1]:
        if np.log(kept[0] / budget) > 0.12 * span:
            kept = [budget, *kept]
    return kept


def save(picture: Picture, folder: Path) -> None:
    """Writes the PNG file."""
    with styled(STYLE), replacing(folder / picture.file) as file:
        metadata = {"Software": None}
        picture.figure.savefig(file, format="png", dpi=160, metadata=metadata)


def svg(picture: Picture) -> str:
    """The picture as a data URI of an SVG whose letters are shapes."""
    file = io.BytesIO()
    none = {"Date": None, "Creator": None}
    with styled(STYLE):
        picture.figure.savefig(file, format="svg", metadata=none)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
