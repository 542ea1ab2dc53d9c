"""How often the stated 95 % intervals hold the truth, by simulation.

Command: python -m benchmarks.coverage
Time: 1 minute on one core. Prints the tables of docs/evaluation.md and ends with an
error if an interval in its stated domain is outside 93 to 97 %.

Stated domain: t with 3 seeds or more, normal values; Wilson with 400 images or more,
accuracy 0.05 to 0.95, images independent or views of 400 pictures or more; paired, with
3 pairs or more; balanced, with 40 images of each class or more, accuracies 0.05 to
0.95. What is beside it is measured too, and only shown.
"""

import argparse
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sslx.evals.intervals import effective_size, holm, paired, t_interval, wilson
from sslx.evals.uneven import balanced_accuracy

CONFIDENCE = 0.95
ALLOWED = (0.93, 0.97)
SEEDS = (2, 3, 5, 10)
IMAGES = (100, 400, 1_000, 10_000)
PICTURES, VIEWED = (100, 447), (0.5, 0.8, 0.9, 0.95)
ACCURACIES = (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99)


class Values(NamedTuple):
    """A distribution of one figure a seed.

    Attributes:
        draw: ``(rng, shape) -> values``.
        mean: The truth that an interval is to hold.
    """

    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    mean: float


CLASSES = {  # images of each class, from the first to the last
    "1,000, 500, 100": [1000, 500, 100],
    "4,000 to 40, ten classes": np.geomspace(4000, 40, 10).astype(int).tolist(),
    "300 to 10, ten classes": np.geomspace(300, 10, 10).astype(int).tolist(),
}
FLAT, FALLING, SURE = "all 0.7", "0.95 to 0.4", "0.999 to 0.95"
ENDS = {FLAT: (0.7, 0.7), FALLING: (0.95, 0.4), SURE: (0.999, 0.95)}

VALUES = {
    "normal": Values(lambda rng, shape: rng.normal(0.8, 0.02, shape), 0.8),
    "uniform": Values(lambda rng, shape: rng.uniform(0.7, 0.9, shape), 0.8),
    "log-normal": Values(lambda rng, shape: rng.lognormal(0, 1, shape), np.exp(0.5)),
    # One seed in ten collapses to chance.
    "some collapse": Values(
        lambda rng, shape: np.where(
            rng.random(shape) < 0.1, 0.1, rng.normal(0.8, 0.02, shape)
        ),
        0.1 * 0.1 + 0.9 * 0.8,
    ),
}


def t_coverage(name: str, seeds: int, repeats: int, interval=t_interval) -> float:
    """Share of repeats whose t interval holds the mean of the distribution."""
    rng = np.random.default_rng([seeds, repeats])
    values = VALUES[name]
    held = 0
    for sample in values.draw(rng, (repeats, seeds)):
        low, high = interval(sample, confidence=CONFIDENCE)
        held += low <= values.mean <= high
    return held / repeats


def wilson_coverage(accuracy: float, images: int, repeats: int, interval=wilson):
    """Share of repeats whose interval holds the accuracy."""
    rng = np.random.default_rng([images, repeats, round(1000 * accuracy)])
    once = lru_cache(None)(lambda right: interval(right, images, confidence=CONFIDENCE))
    held = 0
    for right in rng.binomial(images, accuracy, repeats):
        low, high = once(int(right))
        held += low <= accuracy <= high
    return held / repeats


def views_coverage(
    accuracy: float, pictures: int, repeats: int, *, clustered: bool = True
) -> float:
    """Wilson's, for three views of each picture, whose chances scatter by picture.

    Args:
        accuracy: Mean over pictures of the chance of a view to be right.
        pictures: How many; three times as many images.
        repeats: Of the simulation.
        clustered: Whether the interval knows which views show the same.
    """
    rng = np.random.default_rng([pictures, repeats, round(1000 * accuracy)])
    groups, held = np.repeat(np.arange(pictures), 3), 0
    for _ in range(repeats):
        # Most pictures are sure, as encoders' are: the beta distribution has two peaks.
        chance = rng.beta(0.5 * accuracy, 0.5 * (1 - accuracy), pictures)
        right = rng.random(3 * pictures) < np.repeat(chance, 3)
        size = effective_size(right, groups) if clustered else None
        low, high = wilson(
            int(right.sum()), len(right), confidence=CONFIDENCE, effective=size
        )
        held += low <= accuracy <= high
    return held / repeats


def balanced_coverage(sizes: list[int], accuracies: list[float], repeats: int) -> float:
    """Of the interval of balanced accuracy, for classes of so many images."""
    rng = np.random.default_rng([repeats, *sizes])
    labels, truth = np.repeat(np.arange(len(sizes)), sizes), float(np.mean(accuracies))
    held = 0
    for _ in range(repeats):
        right = rng.random(len(labels)) < np.array(accuracies)[labels]
        accuracy, worth = balanced_accuracy(right, labels)
        low, high = wilson(
            accuracy * len(right), len(right), confidence=CONFIDENCE, effective=worth
        )
        held += low <= truth <= high
    return held / repeats


def paired_figures(seeds: int, repeats: int, tests: int) -> tuple[float, float, float]:
    """Of attacks that do not differ: coverage, false alarms, and those after Holm.

    Attacks of a seed share the victim, so that their figures are correlated. The last
    two: share of single tests with p <= 0.05, and share of families of ``tests`` with
    one or more.
    """
    rng = np.random.default_rng([seeds, repeats, tests])
    held = alarms = families = 0
    for _ in range(repeats):
        common = rng.normal(0.8, 0.05, seeds)
        base, *others = common + rng.normal(0, 0.01, (tests + 1, seeds))
        results = [paired(base, other, confidence=CONFIDENCE) for other in others]
        held += results[0].low <= 0 <= results[0].high
        alarms += results[0].p <= 1 - CONFIDENCE
        families += min(holm([r.p for r in results])) <= 1 - CONFIDENCE
    return held / repeats, alarms / repeats, families / repeats


def _table(corner: str, columns, rows: dict[str, list[str]]) -> None:
    names = (c if isinstance(c, str) else f"{c:,}" for c in columns)
    print(f"\n| {corner} | {' | '.join(names)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Prints the tables; ends with an error where an interval misses what it states."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    missed = []

    def cell(share: float, stated: bool, what: str) -> str:
        if stated and not ALLOWED[0] <= share <= ALLOWED[1]:
            missed.append(f"{what}: {100 * share:.1f} %")
        return f"{100 * share:.1f}" if stated else f"({100 * share:.1f})"

    rows = {}
    for name in VALUES:
        rows[name] = [
            cell(t_coverage(name, n, repeats), name == "normal" and n >= 3, f"t, {n}")
            for n in SEEDS
        ]
    _table("t: values \\ seeds", SEEDS, rows)
    rows = {}
    for accuracy in ACCURACIES:
        rows[f"{accuracy}"] = [
            cell(
                wilson_coverage(accuracy, n, repeats),
                0.05 <= accuracy <= 0.95 and n >= 400,
                f"Wilson, {accuracy} of {n}",
            )
            for n in IMAGES
        ]
    _table("Wilson: accuracy \\ images", IMAGES, rows)
    rows = {}
    for accuracy in VIEWED:
        rows[f"{accuracy}"] = [
            cell(views_coverage(accuracy, n, repeats), n >= 400, f"views of {n}")
            for n in PICTURES
        ] + [
            cell(views_coverage(accuracy, n, repeats, clustered=False), False, "")
            for n in PICTURES
        ]
    heads = [f"{n} pictures" for n in PICTURES]
    _table(
        "Wilson, 3 views each: accuracy",
        heads + [f"{head}, as if 3 times as many" for head in heads],
        rows,
    )
    rows = {}
    for sizes, counts in CLASSES.items():
        rows[sizes] = [
            cell(
                balanced_coverage(
                    counts, np.linspace(*ends, len(counts)).tolist(), repeats
                ),
                min(counts) >= 40 and name != SURE,
                f"balanced, {sizes}, {name}",
            )
            for name, ends in ENDS.items()
        ]
    _table("balanced: images \\ accuracy of the classes", ENDS, rows)
    figures = [paired_figures(n, repeats, tests=5) for n in SEEDS[1:]]
    for n, (covered, *_) in zip(SEEDS[1:], figures, strict=True):
        cell(covered, True, f"paired, {n}")
    names = ("interval holds 0", "p <= 0.05", "any of 5 after Holm <= 0.05")
    cells = [[f"{100 * share:.1f}" for share in row] for row in np.transpose(figures)]
    _table(
        "paired, no difference \\ seeds",
        SEEDS[1:],
        dict(zip(names, cells, strict=True)),
    )
    if missed:
        sys.exit(f"outside {ALLOWED}: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
