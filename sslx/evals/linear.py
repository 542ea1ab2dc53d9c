"""The linear probe: one convex protocol for every encoder, with all labels or few."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from sslx.evals.solver import Solution, check_finite, check_problem, fit, scaling
from sslx.progress import progress
from sslx.types import refuse_if


class ProbeResult(NamedTuple):
    """What the probe predicts, and how it was chosen.

    Attributes:
        predictions: Class of each test row, int64.
        l2: The chosen strength.
        at_edge: ``l2`` is the weakest or strongest of the grid, so the best may lie
            outside it (always so for a grid of one value).
        validation_accuracy: One entry per grid value, strongest first.
        converged: Every solve, the grid's and the last, reached the tolerance.
        solution: The last solve; takes features as ``(features - mean) * scale``.
        mean: (d,) of the training split.
        scale: (d,) one over the standard deviation; 0 for constant features.
    """

    predictions: Integer[np.ndarray, " m"]
    l2: float
    at_edge: bool
    validation_accuracy: dict[float, float]
    converged: bool
    solution: Solution
    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]


class Fitted(NamedTuple):
    """A classifier at one strength; entries as in ``ProbeResult``."""

    predictions: Integer[np.ndarray, " m"]
    solution: Solution
    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]


def probe(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Integer[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m d"],
    *,
    classes: int,
    l2_grid: tuple[float, ...],
    validation_fraction: float,
    tolerance: float,
    max_iterations: int,
    seed: int,
    groups: Integer[np.ndarray, " n"] | None = None,
    cross_validated: bool = False,
) -> ProbeResult:
    """Fit a linear classifier on training features and predict the test rows.

    One protocol for every encoder: features are standardised by the training rows in
    use; a part of the training split, drawn by ``seed``, chooses the strength (ties go
    to the stronger); the whole training split is then fitted with it. Test labels do
    not enter, and test features only at the end.

    Args:
        train_features: Finite, float32 or float64.
        train_labels: Values 0 to classes - 1, two or more of them present.
        test_features: Finite, of the same width.
        classes: Number of classes.
        l2_grid: Positive strengths, in any order; as for ``fit``.
        validation_fraction: Between 0 and 1: part of the rows, or of the groups.
        tolerance: As for ``fit``, each time.
        max_iterations: As for ``fit``, each time.
        seed: Of the validation part.
        groups: Rows with the same value are never divided between the two parts (the
            views of one picture); each row is its own group if not given.
        cross_validated: For few labels: each group is held out once, in as many parts,
            alike in their classes, as the fraction goes into 1. What is held out then
            counts over all parts; classes that a part leaves none of count as wrong.

    Raises:
        UserError: Labels, features, grid or fraction are out of their range, the rows
            fitted hold a single class, or fewer than 2 rows are left for validation.

    Source: Chen et al. 2020 (SimCLR), appendix B.8: L-BFGS, l2 chosen on validation.
    """
    check_finite("test", test_features)
    check_problem(train_features, train_labels, classes, min(l2_grid, default=0.0))
    if cross_validated:
        parts = _parts(train_labels, validation_fraction, seed, groups)
    else:
        n = len(train_labels)
        parts = [validation_part(n, validation_fraction, seed, groups)]
    solve = partial(
        fit, classes=classes, tolerance=tolerance, max_iterations=max_iterations
    )
    strengths = sorted(set(l2_grid), reverse=True)
    accuracy, solutions, converged = _validate(
        train_features, train_labels, parts, strengths, solve
    )
    # The first maximum of a dict that runs from the strongest to the weakest.
    best = max(accuracy, key=accuracy.__getitem__)
    last = classify(
        train_features,
        train_labels,
        test_features,
        classes=classes,
        l2=best,
        tolerance=tolerance,
        max_iterations=max_iterations,
        start=solutions.get(best),
    )
    return ProbeResult(
        **last._asdict(),
        l2=best,
        at_edge=best in (min(l2_grid), max(l2_grid)),
        validation_accuracy=accuracy,
        converged=converged and last.solution.converged,
    )


def classify(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Integer[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m d"],
    *,
    classes: int,
    l2: float,
    tolerance: float,
    max_iterations: int,
    start: Solution | None = None,
) -> Fitted:
    """The end of ``probe``: one fit to all training rows, at a strength that is given.

    Args:
        train_features: As for ``probe``.
        train_labels: Likewise.
        test_features: Likewise.
        classes: Number of classes.
        l2: As for ``fit``, and the three below.
        tolerance: Largest entry of the gradient.
        max_iterations: At most.
        start: A solution to start from.

    Raises:
        UserError: As ``fit``; test features are not finite.
    """
    check_finite("test", test_features)
    mean, scale = scaling(train_features)
    solution = fit(
        (train_features - mean) * scale,
        train_labels,
        classes=classes,
        l2=l2,
        tolerance=tolerance,
        max_iterations=max_iterations,
        start=start,
    )
    predictions = _predict(solution, (test_features - mean) * scale)
    return Fitted(predictions, solution, mean, scale)


def few_labelled(share: float) -> str:
    """The name of the probe on a share of the labels, as of ``few``."""
    return f"linear_{share:g}" if share else "linear_one_each"


def few(
    labels: Integer[np.ndarray, " n"],
    share: float,
    seed: int,
    groups: Integer[np.ndarray, " n"] | None = None,
) -> Integer[np.ndarray, " m"]:
    """Draws the rows of a few-label probe: a share of the pictures of each class.

    Of each class that is there, the share rounded and at least one picture. With one
    seed a smaller share is part of a larger. Hand ``probe`` these rows, with
    ``cross_validated``.

    Args:
        labels: Of the training rows; all rows of a picture count as its first's class.
        share: At most 1, for example 0.01; 0: one picture of each class.
        seed: Of the draw.
        groups: Rows of the same value are one picture, taken whole or not at all; each
            row is its own if not given.

    Returns:
        Places of the rows, ascending.

    Raises:
        UserError: The share is out of its range.

    Source: Chen et al. 2020 (SimCLR), section 6, takes 1 % and 10 % of the labels,
    balanced by class (and fine-tunes; here the encoder stays frozen).
    """
    refuse_if(
        not 0 <= share <= 1,
        f"few labels: a share of {share} must be between 0 and 1",
    )
    units, of_unit, unit_of_row = _units(labels, groups)
    order = np.random.default_rng(seed).permutation(units)
    taken = np.zeros(units, bool)
    for label in np.unique(of_unit):
        own = order[of_unit[order] == label]
        taken[own[: max(1, round(share * len(own)))]] = True
    return np.flatnonzero(taken[unit_of_row])


def _units(
    labels: Integer[np.ndarray, " n"], groups: Integer[np.ndarray, " n"] | None
) -> tuple[int, Integer[np.ndarray, " u"], Integer[np.ndarray, " n"]]:
    """How many pictures, the class of each, and which of them each row shows."""
    groups = np.arange(len(labels)) if groups is None else groups
    _, first, unit_of_row = np.unique(groups, return_index=True, return_inverse=True)
    return len(first), labels[first], unit_of_row


def _validate(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    parts: list[Bool[np.ndarray, " n"]],
    strengths: list[float],
    solve: Callable[..., Solution],
) -> tuple[dict[float, float], dict[float, Solution], bool]:
    """Holds out each part in turn.

    Returns:
        Accuracy of each strength over all that is held out; the last solution of each;
        whether all solves converged.
    """
    right = dict.fromkeys(strengths, 0)
    solutions: dict[float, Solution] = {}
    converged = True
    with progress(len(parts) * len(strengths), 0, "linear probe", "fit") as bar:
        for held in parts:
            if len(parts) > 1 and np.ptp(labels[~held]) == 0:
                continue  # a single class is left: all of the part count as wrong
            mean, scale = scaling(features[~held])
            fitted = (features[~held] - mean) * scale
            validation = (features[held] - mean) * scale
            start = None
            for l2 in strengths:
                start = solve(fitted, labels[~held], l2=l2, start=start)
                solutions[l2] = start
                right[l2] += int(np.sum(_predict(start, validation) == labels[held]))
                converged = converged and start.converged
                bar.update()
    total = int(np.sum(parts))
    return {l2: n / total for l2, n in right.items()}, solutions, converged


def _predict(
    solution: Solution, features: Float[np.ndarray, "n d"]
) -> Integer[np.ndarray, " n"]:
    return (features @ solution.weights + solution.bias).argmax(1)


def validation_part(
    n: int, fraction: float, seed: int, groups: Integer[np.ndarray, " n"] | None
) -> Bool[np.ndarray, " n"]:
    """Which rows are held out to choose a strength; ``groups`` are not divided."""
    groups = np.arange(n) if groups is None else groups
    units, unit_of_row = np.unique(groups, return_inverse=True)
    held = np.zeros(len(units), bool)
    order = np.random.default_rng(seed).permutation(len(units))
    held[order[: round(max(0, fraction) * len(units))]] = True
    rows = held[unit_of_row]
    refuse_if(
        rows.sum() < 2 or rows.all(),
        f"linear probe: validation_fraction={fraction} holds out {rows.sum()} of "
        f"{n} training images; at least 2 must be held out and some be left",
    )
    return rows


def _parts(
    labels: Integer[np.ndarray, " n"],
    fraction: float,
    seed: int,
    groups: Integer[np.ndarray, " n"] | None,
) -> list[Bool[np.ndarray, " n"]]:
    """Parts that hold each row once, alike in size and in classes."""
    units, of_unit, unit_of_row = _units(labels, groups)
    refuse_if(
        not 0 < fraction <= 0.5,
        f"few labels: validation_fraction={fraction} must be above 0, at most 0.5",
    )
    order = np.random.default_rng(seed).permutation(units)
    order = order[np.argsort(of_unit[order], kind="stable")]
    count = min(round(1 / fraction), units)
    part_of_unit = np.empty(units, int)
    part_of_unit[order] = np.arange(units) % count  # dealt class after class
    part_of_row = part_of_unit[unit_of_row]
    return [part_of_row == part for part in range(count)]
