"""What a study's pictures share: colours, marks, levels and legends."""

import textwrap
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from sslx.report.pictures import COLOURS
from sslx.report.study_rows import Record
from sslx.report.study_table import Figure, Row

# Told apart by people who see fewer colours, too, and by their marks in any case;
# mostly Okabe and Ito's. None near the victim's blue.
THEFTS = (
    *("#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#1d2530", "#7a4b00"),
    *("#7f3c8d", "#9a9a00", "#a51e3b"),
)
MARKS = "osD^vPX*<>ph"
LEVELS = {
    "victim": COLOURS["victim"],
    "independent": "#3f7f7f",
    "untrained": "#707a8a",
    "pixels": "#a2a6b0",
}
STROKES: dict[str, Any] = {
    "victim": "--",
    "independent": "-.",
    "untrained": (0, (5, 2)),
    "pixels": (0, (1, 1.5)),
}


class Part(NamedTuple):
    """What is drawn together.

    Attributes:
        rows: Of the aggregate, of one data set and kind of victim.
        records: Theirs.
        title: Above the drawing.
        of: The same for a heading.
        styles: Theft -> colour and mark.
    """

    rows: list[Row]
    records: list[Record]
    title: str
    of: str
    styles: dict[str, tuple[str, str]]


def colours(rows: list[Row]) -> dict[str, tuple[str, str]]:
    """Theft -> colour and mark, the same in all pictures of a study."""
    names = dict.fromkeys(row["theft"] for row in rows if row["role"] == "stolen")
    return {
        name: (THEFTS[i % len(THEFTS)], MARKS[i % len(MARKS)])
        for i, name in enumerate(names)
    }


def legend(figure: Drawing, axes: Axes) -> None:
    """Names below the drawing, in as many columns as they leave room for."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        ncols = 2 if max(map(len, labels)) > 22 else 3
        labels = [textwrap.fill(text, 40 if ncols == 2 else 25) for text in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=ncols)


def level(
    axes: Axes,
    name: str,
    colour: str,
    found: Figure,
    *,
    across: bool,
    stroke: Any = None,
) -> None:
    """A line for what has no budget, the victim's with its band."""
    line, span = (
        (axes.axhline, axes.axhspan) if across else (axes.axvline, axes.axvspan)
    )
    line(
        100 * found["mean"],
        color=colour,
        linestyle=stroke or STROKES[name],
        linewidth=1.3,
        label=name,
        zorder=1,
    )
    if found["low"] is not None and (name == "victim" or stroke):
        low, high = 100 * found["low"], 100 * found["high"]
        span(low, high, color=colour, alpha=0.1, lw=0, zorder=0)
