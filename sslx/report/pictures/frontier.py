"""For who owns an API: what a defence costs users, and what a thief gets."""

import textwrap

from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled

from sslx.report.defended.frontier import Defended
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


def draw(found: list[Defended], primary: str) -> list[Picture]:
    """The picture of each data set and kind of victim that has both sides."""
    out = []
    both = [d for d in found if d.loss is not None and d.thief]
    for i, place in enumerate(dict.fromkeys((d.dataset, d.kind) for d in both)):
        own = [d for d in both if (d.dataset, d.kind) == place]
        with styled(STYLE):
            out.append(_draw(own, primary, place, f"frontier{i}.png"))
    return out


def _draw(
    own: list[Defended], primary: str, place: tuple[str, str], file: str
) -> Picture:
    figure = Drawing((WIDTH, 1))
    axes = figure.subplots()
    for i, d in enumerate(own):
        shade, mark = SERIES[i % len(SERIES)], MARKS[i % len(MARKS)]
        x = 100 * (d.loss or 0)
        points = {"full": d.adapted, "none": d.naive}
        heights = [100 * t.accuracy for t in points.values() if t]
        axes.plot([x] * len(heights), heights, color=shade, lw=0.8)
        for fill, thief in points.items():
            if thief:
                name = d.defence if thief == d.thief else None
                height = [100 * thief.accuracy]
                (line,) = axes.plot([x], height, color=shade, label=name)
                line.set(marker=mark, fillstyle=fill, linestyle="", markersize=6)
    if own[0].defence == "none" and own[0].thief:
        level = 100 * own[0].thief.accuracy
        axes.axhline(level, color=COLOURS["victim"], ls="--", lw=1, zorder=0)
    axes.set_xlabel("what honest users lose, points of accuracy (mean)")
    axes.set_ylabel(textwrap.fill(f"best theft, {evaluator(primary)} probe, %", 30))
    axes.set_title(short(place[0]))
    figure.set_figheight(2.8 + 0.2 * legend(figure, axes))
    told = "; ".join(
        f"{d.defence}: users lose {100 * (d.loss or 0):.1f}, theft "
        f"{100 * d.thief.accuracy:.1f}"
        for d in own
        if d.thief
    )
    return Picture(
        *(file, "frontier", f"What defences cost, and whom, on {place[0]}"),
        alt=f"Points; {told}",
        caption="Each mark is a defence: full for the best theft that knows it, hollow "
        "for the best that does not. Good is low and left; the dashed line is a theft "
        "without a defence.",
        figure=figure,
        place=place,
    )
