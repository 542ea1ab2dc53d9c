"""For who owns an API: what a defence costs users, and what a thief gets."""

import textwrap

from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled

from sslx.report.aggregate import Row
from sslx.report.defended.frontier import Defended, levels
from sslx.report.labels import evaluator, short
from sslx.report.pictures.drawing import (
    COLOURS,
    MARKS,
    SERIES,
    STYLE,
    WIDTH,
    Picture,
    legend,
)


def draw(found: list[Defended], rows: list[Row], primary: str) -> list[Picture]:
    """The picture of each data set and kind of victim that has both sides."""
    out = []
    both = [d for d in found if d.loss is not None and d.thief]
    for i, place in enumerate(dict.fromkeys((d.dataset, d.kind) for d in both)):
        own = [d for d in both if (d.dataset, d.kind) == place]
        beside = levels(rows, place, primary)
        with styled(STYLE):
            out.append(_draw(own, beside, primary, place, f"frontier{i}.png"))
    return out


def _draw(
    own: list[Defended],
    beside: dict[str, float],
    primary: str,
    place: tuple[str, str],
    file: str,
) -> Picture:
    figure = Drawing((WIDTH, 1))
    axes = figure.subplots()
    for i, d in enumerate(own):
        shade, mark = SERIES[i % len(SERIES)], MARKS[i % len(MARKS)]
        x = 100 * (d.loss or 0)
        thieves = [thief for thief in (d.naive, d.thief) if thief]
        heights = [100 * thief.accuracy.mean for thief in thieves]
        axes.plot([x] * len(heights), heights, color=shade, lw=0.8)
        ends = [("none", heights[0], None), ("full", heights[-1], _name(d))]
        for fill, height, name in ends:
            (line,) = axes.plot([x], [height], color=shade, label=name)
            line.set(marker=mark, fillstyle=fill, linestyle="", markersize=6)
    for role, level in beside.items():
        axes.axhline(
            100 * level,
            color=COLOURS.get(role, COLOURS["untrained"]),
            ls="--",
            lw=1,
            zorder=0,
        )
        axes.annotate(
            role, (1, 100 * level), xycoords=("axes fraction", "data"), fontsize=7
        )
    axes.set_xlabel("what honest users lose, points of accuracy (mean)")
    axes.set_ylabel(textwrap.fill(f"best theft, {evaluator(primary)} probe, %", 30))
    axes.set_title(short(place[0]))
    figure.set_figheight(2.8 + 0.2 * legend(figure, axes))
    told = "; ".join(
        f"{d.defence}: users lose {100 * (d.loss or 0):.1f}, theft "
        f"{100 * d.thief.accuracy.mean:.1f}"
        for d in own
        if d.thief
    )
    return Picture(
        *(file, "frontier", f"What defences cost, and whom, on {place[0]}"),
        alt=f"Points; {told}",
        caption="Each mark is a defence: full for the best theft that may do something "
        "about it, hollow for the best that does not. Good is low and left. Dashed "
        "lines are what a theft lies between: the victim, the attacker alone, an "
        "untrained network.",
        figure=figure,
        place=place,
    )


def _name(d: Defended) -> str:
    hashes = d.thief.noted.get("hashes") if d.thief else None
    return d.defence + (f" ({hashes:.2g} hashes an image)" if hashes else "")
