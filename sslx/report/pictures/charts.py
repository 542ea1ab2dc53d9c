"""Pictures of a report's figures: accuracy, against queries and cost, and fidelity."""

import textwrap
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sslx.report.aggregate import Figure, Row, baselines
from sslx.report.labels import evaluator, short
from sslx.report.pictures.drawing import (
    COLOURS,
    STYLE,
    WIDTH,
    Part,
    Picture,
    Styles,
    budget_ticks,
    colour,
    legend,
    level,
)
from sslx.report.records import MEASURES, NO_SEED, READ, THEFTS, Record

Get = Callable[[Row], Figure | None]


def draw(
    rows: list[Row], records: list[Record], own: Styles, primary: str
) -> list[Picture]:
    """The pictures of each data set and kind of victim, in the order of the page."""
    several, out = len({row.kind for row in rows}) > 1, []
    rows = baselines(rows, primary)
    kept = {(*row[:2], row.role, row.theft) for row in rows}
    records = [r for r in records if (*r[:2], r.role, r.theft) in kept]
    with styled(STYLE):
        for i, place in enumerate(dict.fromkeys(row[:2] for row in rows)):
            name, kind = place
            parts = [short(name), *([kind] if several else [])]
            part = Part(
                [row for row in rows if row[:2] == place],
                [r for r in records if r[:2] == place],
                "\n".join(textwrap.fill(text, 60) for text in parts),
                f"{name}, {kind}" if several else name,
                own,
                primary,
            )
            drawn = _bars(part), _queries(part), _ratio(part), _cost(part)
            for picture in filter(None, (*drawn, _fidelity(part))):
                file = picture.file.replace(".png", f"{i}.png")
                out.append(picture._replace(file=file, place=place))
    return out


def _told(rows: list[Row], get: Get) -> str:
    """Figures for who cannot see them."""
    points = ((row, get(row)) for row in rows)
    return "; ".join(
        f"{row.cell or row.name} {100 * figure.mean:.1f} %"
        for row, figure in points
        if figure
    )


def _bars(part: Part) -> Picture | None:
    """A bar for each encoder, of each theft that with the most queries."""
    last = {row.theft: row for row in part.rows if row.role in THEFTS}
    rows = [row for row in part.rows if last.get(row.theft, row) is row]
    bars = [(row, f) for row in rows if (f := part.accuracy(row))]
    names = [
        textwrap.fill(row.name, 26)
        + (f"\n{row.queries:,} queries" if row.queries else "")
        for row, _ in bars
    ]
    # Lines of text are the unit, so that a long name does not meet its neighbour.
    size = np.array([1.65 + name.count("\n") for name in names])
    places = np.cumsum(size) - size / 2
    figure = Drawing((WIDTH, 0.8 + 0.18 * size.sum()))
    axes = figure.subplots()
    for place, (row, found) in zip(places, bars, strict=True):
        mean, end = 100 * found.mean, 100 * found.mean
        axes.barh(place, mean, 1.15, color=colour(row, part.styles))
        if found.low is not None and found.high is not None:
            end = min(100 * found.high, 100)
            low = max(100 * found.low, 0)
            axes.errorbar(
                *(mean, place, None, [[mean - low], [end - mean]]),
                color="#1d2530",
                capsize=2.5,
                elinewidth=1,
            )
        axes.text(end + 1.5, place, f"{mean:.1f}", va="center")
    axes.set_yticks(places, names)
    axes.set(xlim=(0, 112), ylim=(size.sum(), 0), xlabel=part.label)
    axes.set_xticks(range(0, 101, 20))
    figure.suptitle(part.title)
    stolen = any(row.role in THEFTS for row, _ in bars)
    more = " Of each theft that with the most queries." if len(part.budgets) > 1 else ""
    caption = (
        "A stolen encoder is worth its queries by how far it stands above what nobody "
        f"stole, and how near the victim.{more}"
        if stolen
        else "An encoder is worth its training by how far it stands above what needs "
        "none."
    )
    title = f"Accuracy on {part.of}"
    alt = f"Bars: {_told(rows, part.accuracy)}"
    return Picture("accuracy.png", "accuracy", title, alt, caption, figure)


def _queries(part: Part) -> Picture | None:
    return _against_queries(
        *(part, "queries.png", part.accuracy, part.label),
        title=f"Accuracy against queries on {part.of}",
        caption="What more queries buy: where a line is flat, asking more is wasted, "
        "and where it is steep a lower limit on queries would protect. Bands are "
        "intervals.",
        within=True,
    )


def _ratio(part: Part) -> Picture | None:
    """The share of the victim's accuracy; over a single seed it says nothing new."""
    shares = [row.of_victim for row in part.thefts()]
    if all(share is None or share.low is None for share in shares):
        return None

    def get(row: Row) -> Figure | None:
        return (
            Figure(1.0, None, None, None, 1) if row.role == "victim" else row.of_victim
        )

    return _against_queries(
        *(part, "ratio.png", get, "accuracy, % of the victim's"),
        title=f"Ratio to the victim on {part.of}",
        caption="The same as a share of the victim's accuracy, each stealer's of its "
        "own victim.",
    )


def _against_queries(
    part: Part,
    file: str,
    get: Get,
    label: str,
    title: str,
    caption: str,
    within: bool = False,
) -> Picture | None:
    """Lines over budgets, levels for what has none; None for a single budget."""
    if len(part.budgets) < 2 or not any(map(get, part.thefts())):
        return None
    figure = Drawing((WIDTH, 3.1))
    axes = figure.subplots()
    for name, (shade, mark) in part.styles.items():
        own = [
            (r.queries, f) for r in part.thefts() if r.theft == name and (f := get(r))
        ]
        if not own:
            continue
        x, found = zip(*own, strict=True)
        y = [100 * f.mean for f in found]
        axes.plot(x, y, color=shade, marker=mark, ms=5, lw=1.4, label=name)
        if all(f.low is not None for f in found):
            low, high = ([100 * getattr(f, k) for f in found] for k in ("low", "high"))
            axes.fill_between(x, low, high, color=shade, alpha=0.1, lw=0)
            for edge in (low, high):  # where many bands lie on each other
                axes.plot(x, edge, color=shade, alpha=0.35, lw=0.6)
    for row in part.rows:
        if not row.queries and (flat := get(row)):
            level(axes, row, flat, part.styles, across=True)
    at = budget_ticks(part.budgets)
    axes.set(xscale="log", xlabel="queries", ylabel=label)
    axes.set_xticks(at, [f"{n:,}" for n in at])
    axes.set_xticks([], minor=True)
    if within:  # 0 to 100 %
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 100))
    figure.suptitle(part.title)
    figure.set_figheight(3.1 + 0.2 * legend(figure, axes))
    alt = f"{label}: {_told(part.rows, get)}"
    return Picture(file, "accuracy", title, alt, caption, figure)


def _cost(part: Part) -> Picture | None:
    """Accuracy against the bill and against the training."""
    asking = part.thefts()
    shares = all(row.flops_of_victim is not None for row in asking)
    flops, unit = ("flops_of_victim", 100.0) if shares else ("flops", 1.0)
    panels = [
        ("usd", 1.0, "USD paid for queries"),
        (flops, unit, "training FLOPs" + (", % of the victim's" if shares else "")),
    ]
    # Where all cost the same there is nothing to see.
    panels = [p for p in panels if len({getattr(r, p[0]) for r in asking} - {0}) > 1]
    if not panels:
        return None
    figure = Drawing((WIDTH, 2.9))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (key, times, label) in zip(grid, panels, strict=True):
        _cost_panel(axes, part, key, times)
        axes.set(xscale="log", xlabel=label)
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,))
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        if key != "flops":
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    grid[0].set_ylabel(part.label)
    figure.suptitle(part.title)
    figure.set_figheight(2.9 + 0.2 * legend(figure, grid[-1]))
    points = (
        f"{row.cell} {100 * found.mean:.1f} % for {row.usd or 0:.4g} USD"
        + (f" and {row.flops_of_victim:.1%} of the training" if shares else "")
        for row in asking
        if (found := part.accuracy(row))
    )
    return Picture(
        *("cost.png", "cost", f"Accuracy against cost on {part.of}"),
        alt=f"Points: {'; '.join(points)}",
        caption="What an accuracy costs: what was paid for the answers, and what the "
        "stealer's training takes. Beside the bills, what asks nothing is a dotted "
        "line.",
        figure=figure,
    )


def _cost_panel(axes: Axes, part: Part, key: str, times: float) -> None:
    for name, (shade, mark) in part.styles.items():
        own = [
            (times * getattr(row, key), 100 * found.mean)
            for row in part.rows
            if row.name == name and getattr(row, key) and (found := part.accuracy(row))
        ]
        if own:
            x, y = zip(*sorted(own), strict=True)
            axes.plot(x, y, color=shade, marker=mark, ms=5, lw=1, label=name)
    for row in part.rows:
        free = row.role == "alone" and not getattr(row, key)
        if (free or row.role == "victim") and (found := part.accuracy(row)):
            level(axes, row, found, part.styles, across=True)


def _fidelity(part: Part) -> Picture | None:
    """A point for each encoder: how alike the victim it is, and how good."""
    there = {m for row in part.rows for m in row.fidelity}
    names = [m for m in MEASURES if m in there][:READ]
    groups: dict[str, list[Record]] = {}
    for r in sorted(part.records, key=lambda r: r.role not in THEFTS):
        if r.role not in ("victim", *NO_SEED) and part.primary in r.scores:
            name = r.theft if r.role in THEFTS else r.role
            groups.setdefault(name or "", []).append(r)
    if not names or not part.thefts() + part.thefts(asking=False):
        return None
    deep, wide = -(-len(names) // 2), min(len(names), 2)
    figure = Drawing((WIDTH, 1))
    grid = figure.subplots(deep, wide, squeeze=False, sharey=True).ravel()
    others = {"independent": "x", "untrained": "+", "honest": "1"}
    marks = part.styles | {k: (COLOURS[k], mark) for k, mark in others.items()}
    for axes, measure in zip(grid, names, strict=False):
        for name, own in groups.items():
            shade, mark = marks[name]
            points = [
                (r.fidelity[measure], 100 * r.scores[part.primary].accuracy)
                for r in own
                if r.fidelity.get(measure) is not None
            ]
            if points:
                size = 36 if name in others else 20
                x, y = zip(*points, strict=True)
                axes.scatter(x, y, s=size, color=shade, marker=mark, label=name)
        axes.set_xlabel(MEASURES[measure])
        axes.locator_params(axis="x", nbins=5)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in grid[::wide]:
        axes.set_ylabel(f"{evaluator(part.primary)} probe, %")
    figure.suptitle(part.title)
    figure.set_figheight(0.5 + 2.3 * deep + 0.2 * legend(figure, grid[0]))
    means = (
        f"{row.cell or row.name} "
        + ", ".join(
            f"{m} {row.fidelity[m].mean:.3f}" for m in names if m in row.fidelity
        )
        for row in part.rows
        if row.fidelity
    )
    return Picture(
        *("fidelity.png", "fidelity", f"Fidelity against accuracy on {part.of}"),
        alt=f"Points; means: {'; '.join(means)}",
        caption="Each point is an encoder: how alike it is to its victim without any "
        "labels, and how good it is. Crosses were trained without the victim.",
        figure=figure,
    )
