"""The report's pictures as PNG files."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

from sslx.stages.report_text import label  # noqa: E402

_COLOURS = {
    "victim": "#2b5c8a",
    "stolen": "#c8553d",
    "random": "#8d99ae",
    "pixels": "#c9cbd1",
}


def _linear(rows: list[dict], dataset: str) -> list[dict]:
    return [r for r in rows if r["dataset"] == dataset and r["evaluator"] == "linear"]


def _save(figure, path: Path) -> str:
    figure.savefig(path, dpi=120, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return path.name


def _error(row: dict) -> tuple[float, float]:
    low, high = row["interval"]
    return 100 * (row["accuracy"] - low), 100 * (high - row["accuracy"])


def _bars(found: dict, dataset: str, path: Path) -> str:
    victim, stolen, *rest = _linear(found["accuracies"], dataset)
    bars = [("victim", victim)]
    for cell in found["sweep"]:
        (row,) = _linear(cell["accuracies"], dataset)
        bars.append((f"stolen\n{label(cell)}\n{cell['budget']:,}\nqueries", row))
    bars += [(r["encoder"], r) for r in rest]
    figure, axes = plt.subplots(figsize=(1.15 * len(bars) + 1, 3.6))
    heights = [100 * row["accuracy"] for _, row in bars]
    colours = [_COLOURS[row["encoder"]] for _, row in bars]
    errors = list(zip(*(_error(row) for _, row in bars), strict=True))
    axes.bar([b[0] for b in bars], heights, color=colours, yerr=errors, capsize=3)
    for i, (_, row) in enumerate(bars):
        top = 100 * row["interval"][1] + 1
        axes.text(i, top, f"{heights[i]:.1f}", ha="center", fontsize=9)
    axes.set(ylabel="linear probe, % of test images", ylim=(0, 108), title=dataset)
    axes.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _budgets(found: dict, dataset: str, path: Path) -> str:
    figure, axes = plt.subplots(figsize=(6, 3.6))
    by_loss: dict[str, list] = {}
    for cell in found["sweep"]:
        (row,) = _linear(cell["accuracies"], dataset)
        name = f"{cell['attack']}, {label(cell)}"
        by_loss.setdefault(name, []).append((cell["budget"], row))
    for name, points in by_loss.items():
        points.sort(key=lambda p: p[0])
        x, y = zip(*((q, 100 * r["accuracy"]) for q, r in points), strict=True)
        errors = list(zip(*(_error(row) for _, row in points), strict=True))
        axes.errorbar(x, y, yerr=errors, marker="o", capsize=3, label=name)
    levels = {r["encoder"]: r for r in _linear(found["accuracies"], dataset)}
    for name in ("victim", "random", "pixels"):
        level = 100 * levels[name]["accuracy"]
        axes.axhline(level, color=_COLOURS[name], linestyle="--", label=name)
    axes.set(xscale="log", xlabel="queries", ylabel="linear probe, %", title=dataset)
    budgets = sorted({cell["budget"] for cell in found["sweep"]})
    axes.set_xticks(budgets, [f"{n:,}" for n in budgets])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _curves(curves: list[tuple[str, list[dict]]], path: Path) -> str:
    figure, axes = plt.subplots(
        1, len(curves), figsize=(3 * len(curves), 2.6), squeeze=False
    )
    for axis, (name, rows) in zip(axes[0], curves, strict=True):
        axis.plot([r["step"] for r in rows], [r["loss"] for r in rows])
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("loss")
    figure.tight_layout()
    return _save(figure, path)


def draw(
    folder: Path, found: dict, curves: list[tuple[str, list[dict]]]
) -> dict[str, str]:
    """Draws the pictures of a report.

    Args:
        folder: Where the files go.
        found: results.json.
        curves: (title of a training run, its logged rows).

    Returns:
        Title -> file name.
    """
    names = {}
    for i, dataset in enumerate(
        dict.fromkeys(r["dataset"] for r in found["accuracies"])
    ):
        names[f"Accuracy on {dataset}"] = _bars(
            found, dataset, folder / f"accuracy{i}.png"
        )
        if len({cell["budget"] for cell in found["sweep"]}) > 1:
            names[f"Accuracy against queries on {dataset}"] = _budgets(
                found, dataset, folder / f"queries{i}.png"
            )
    names["Training curves"] = _curves(curves, folder / "curves.png")
    return names
