"""A study's pictures: against queries, against cost, and fidelity against accuracy."""

import textwrap
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.style import context as styled
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sslx.report.likeness import MEASURES
from sslx.report.pictures import STYLE, WIDTH, Picture, budget_ticks
from sslx.report.report_text import short
from sslx.report.study_drawing import LEVELS, Part, colours, legend, level
from sslx.report.study_rows import Record
from sslx.report.study_table import Figure, Row

# Measures of fidelity that are drawn, the first four that there are.
DRAWN = ("cka", "agreement", "neighbours", "linear_l2", "information", "linear_cosine")
LINEAR = "linear probe, % of test images"


def draw(rows: list[Row], records: list[Record]) -> list[Picture]:
    """The pictures of each data set and kind of victim, in the order of the page."""
    styles, out = colours(rows), []
    several = len({row["kind"] for row in rows}) > 1
    with styled(STYLE):
        for i, (name, kind) in enumerate(dict.fromkeys(map(_place, rows))):
            parts = [short(name), *([kind] if several else [])]
            title = "\n".join(textwrap.fill(part, 60) for part in parts)
            part = Part(
                [row for row in rows if _place(row) == (name, kind)],
                [r for r in records if _place(r) == (name, kind)],
                title,
                f"{name}, {kind}" if several else name,
                styles,
            )
            drawn = (
                _accuracy(part, f"accuracy{i}.png"),
                _ratio(part, f"ratio{i}.png"),
                _cost(part, f"cost{i}.png"),
                _fidelity(part, f"fidelity{i}.png"),
            )
            out += [p._replace(dataset=f"{name}\n{kind}") for p in drawn if p]
    return out


def _place(row: Row) -> tuple[str, str]:
    return row["set"], row["kind"]


def _accuracy(part: Part, file: str) -> Picture:
    def get(row: Row) -> Figure:
        return row["accuracy"]["linear"]

    levels = [row for row in part.rows if row["role"] != "stolen"]
    return _figures(part, file, get, levels, LINEAR, "Accuracy", (0.0, 100.0))


def _ratio(part: Part, file: str) -> Picture | None:
    def get(row: Row) -> Figure:
        return row["ratio"] or {"mean": 1.0, "low": None, "high": None}

    rows = [row for row in part.rows if row["role"] == "victim" or row["ratio"]]
    if len(rows) < 2:
        return None
    levels = [row for row in rows if row["role"] != "stolen"]
    label = "linear accuracy, % of the victim's"
    return _figures(
        part._replace(rows=rows), file, get, levels, label, "Ratio to the victim", None
    )


def _figures(
    part: Part,
    file: str,
    get: Callable[[Row], Figure],
    levels: list[Row],
    label: str,
    what: str,
    limits: tuple[float, float] | None,
) -> Picture:
    """Lines against queries, or dots where there is but one budget."""
    stolen = [row for row in part.rows if row["role"] == "stolen"]
    budgets = sorted({row["queries"] for row in stolen} - {0})
    names = list(dict.fromkeys(row["theft"] for row in stolen))
    lines = len(budgets) > 1
    deep = 3.1 + 0.2 * -(-(len(names) + len(levels)) // 2) if lines else 0
    figure = Drawing((WIDTH, deep or 1.3 + 0.24 * (len(stolen) + 0.7 * len(levels))))
    axes = figure.subplots()
    (_lines if lines else _dots)(axes, part, stolen, get)
    for row in levels:
        level(axes, row["role"], LEVELS[row["role"]], get(row), across=lines)
    figure.suptitle(part.title)
    if lines:
        at = budget_ticks(budgets)
        axes.set(xscale="log", xlabel="queries", ylabel=label)
        axes.set_xticks(at, [f"{n:,}" for n in at])
        axes.set_xticks([], minor=True)
        low, high = axes.get_ylim()
    else:
        axes.set(xlabel=label)
        low, high = axes.get_xlim()
    if limits:
        bounds = max(low, limits[0]), min(high, limits[1])
        (axes.set_ylim if lines else axes.set_xlim)(*bounds)
    legend(figure, axes)
    points = (
        f"{_name(row)} {100 * get(row)['mean']:.1f} %"
        + (f" at {row['queries']:,}" if row["queries"] else "")
        for row in part.rows
    )
    title = f"{what} {'against queries' if lines else 'of each theft'} on {part.of}"
    return Picture(file, "", title, f"{label}: {'; '.join(points)}", figure)


def _name(row: Row) -> str:
    return row["theft"] or row["role"]


def _lines(
    axes: Axes, part: Part, stolen: list[Row], get: Callable[[Row], Figure]
) -> None:
    for name, (colour, mark) in part.styles.items():
        own = [row for row in stolen if row["theft"] == name and row["queries"]]
        own.sort(key=lambda row: row["queries"])
        for row in stolen:
            if row["theft"] == name and not row["queries"]:
                level(axes, name, colour, get(row), across=True, stroke=":")
        if not own:
            continue
        x = [row["queries"] for row in own]
        found = [get(row) for row in own]
        y = [100 * f["mean"] for f in found]
        axes.plot(x, y, color=colour, marker=mark, ms=5, lw=1.4, label=name)
        if all(f["low"] is not None for f in found):
            low, high = ([100 * f[end] for f in found] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.1, lw=0)
            for edge in (low, high):  # where many bands lie on each other
                axes.plot(x, edge, color=colour, alpha=0.35, lw=0.6)


def _dots(
    axes: Axes, part: Part, stolen: list[Row], get: Callable[[Row], Figure]
) -> None:
    names = []
    for i, row in enumerate(stolen):
        found, (colour, mark) = get(row), part.styles[row["theft"]]
        mean = 100 * found["mean"]
        errors = None
        if found["low"] is not None:
            errors = [[mean - 100 * found["low"]], [100 * found["high"] - mean]]
        axes.errorbar(mean, i, xerr=errors, color=colour, marker=mark, capsize=2.5)
        names.append(textwrap.shorten(row["theft"], 40, placeholder="..."))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _cost(part: Part, file: str) -> Picture | None:
    """Accuracy against the bill and against the training."""
    stolen = [row for row in part.rows if row["role"] == "stolen"]
    shares = all(row["flops_ratio"] is not None for row in stolen)
    flops, unit = ("flops_ratio", 100) if shares else ("flops", 1)
    panels = [
        ("usd", 1, "USD paid for queries"),
        (flops, unit, "training FLOPs" + (", % of the victim's" if shares else "")),
    ]
    # Where all cost the same there is nothing to see.
    panels = [p for p in panels if len({row[p[0]] for row in stolen} - {0}) > 1]
    if not panels:
        return None
    deep = 2.9 + 0.2 * -(-(len(part.styles) + 1) // 2)
    figure = Drawing((WIDTH, deep))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (key, times, label) in zip(grid, panels, strict=True):
        for name, (colour, mark) in part.styles.items():
            own = [row for row in stolen if row["theft"] == name and row[key]]
            own.sort(key=lambda row: (row[key], row["queries"]))
            free = [row for row in stolen if row["theft"] == name and row[key] == 0]
            for row in free:
                found = row["accuracy"]["linear"]
                level(axes, name, colour, found, across=True, stroke=":")
            if own:
                x = [times * row[key] for row in own]
                y = [100 * row["accuracy"]["linear"]["mean"] for row in own]
                axes.plot(x, y, color=colour, marker=mark, ms=5, lw=1, label=name)
        for row in part.rows:
            if row["role"] == "victim":
                found = row["accuracy"]["linear"]
                level(axes, "victim", LEVELS["victim"], found, across=True)
        axes.set(xscale="log", xlabel=label)
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,))
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        if key != "flops":
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    grid[0].set_ylabel(LINEAR)
    figure.suptitle(part.title)
    legend(figure, grid[-1])
    points = (
        f"{row['theft']} {100 * row['accuracy']['linear']['mean']:.1f} % for "
        f"{row['usd']:.4g} USD"
        + (f" and {row['flops_ratio']:.1%} of the training" if shares else "")
        for row in stolen
    )
    title = f"Accuracy against cost on {part.of}"
    return Picture(file, "", title, f"Points: {'; '.join(points)}", figure)


def _fidelity(part: Part, file: str) -> Picture | None:
    """A point for each encoder: how alike the victim it is, and how good."""
    names = [m for m in DRAWN if any(m in row["fidelity"] for row in part.rows)][:4]
    if not names:
        return None
    deep, wide = -(-len(names) // 2), min(len(names), 2)
    below = 0.2 * -(-(len(part.styles) + 2) // 2)
    figure = Drawing((WIDTH, 0.5 + 2.3 * deep + below))
    grid = figure.subplots(deep, wide, squeeze=False, sharey=True).ravel()
    groups: dict[str, list[Record]] = {}
    for r in sorted(part.records, key=lambda r: r["role"] != "stolen"):
        if r["role"] not in ("victim", "pixels"):
            groups.setdefault(r["theft"] or r["role"], []).append(r)
    others = {"independent": (LEVELS["independent"], "x")}
    others |= {"untrained": (LEVELS["untrained"], "+")}
    styles = part.styles | others
    for axes, measure in zip(grid, names, strict=False):
        for name, own in groups.items():
            colour, mark = styles[name]
            points = [
                (r["fidelity"][measure], 100 * r["accuracy"]["linear"])
                for r in own
                if r["fidelity"].get(measure) is not None
            ]
            if points:
                size = 36 if name in others else 20
                x, y = zip(*points, strict=True)
                axes.scatter(x, y, s=size, color=colour, marker=mark, label=name)
        axes.set_xlabel(MEASURES[measure])
        axes.locator_params(axis="x", nbins=5)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in grid[::wide]:
        axes.set_ylabel("linear probe, %")
    figure.suptitle(part.title)
    legend(figure, grid[0])
    rows = (row for row in part.rows if row["fidelity"])
    means = (
        f"{_name(row)} "
        + ", ".join(
            f"{m} {row['fidelity'][m]:.3f}" for m in names if m in row["fidelity"]
        )
        for row in rows
    )
    alt = f"Points; means: {'; '.join(means)}"
    return Picture(file, "", f"Fidelity against accuracy on {part.of}", alt, figure)
