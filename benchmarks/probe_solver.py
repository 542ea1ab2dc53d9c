"""The linear probe's solver against scikit-learn's on the same objective.

Command: python -m benchmarks.probe_solver [digits made_up cifar10]
Time: 10 minutes on two busy cores. Prints the table of docs/evaluation.md and ends
with an error where what must hold does not.

Both minimise mean cross-entropy + l2 / 2 * |weights|^2 on standardised features until
no entry of its gradient is above 1e-5 (measured here for both): scikit-learn's
LogisticRegression with C = 1 / (n * l2), L-BFGS and that tolerance. They are timed in
turn, in one process; ratios are medians, of seconds and of CPU seconds. ``--threads 1``
gives scikit-learn one BLAS thread, as the probe takes for problems of this size: on a
busy machine more of them wait for each other and it is several times slower.

Feature sets: pixels of the built-in digits; features made up like an encoder's, of a
random ReLU layer on class centres with noise, nearly collinear; features of random
filters on CIFAR-10, which must be prepared.
"""

import argparse
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sslx.evals.linear import probe
from sslx.evals.softmax import objective
from sslx.evals.solver import fit

TOLERANCE = 1e-5
GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # as in configs/default.py
TIMED = ("made_up", 1e-3)  # the feature set and strength that must be fast
STRENGTHS = (1e-3, 1e-2)
SLOWEST = 1.5  # times scikit-learn's seconds
HEAD = (
    "features",
    "n x d x k",
    "L2",
    "loss, relative difference",
    "gradient, ours",
    "theirs",
    "accuracy, ours",
    "theirs",
    "s, ours",
    "s, theirs",
    "ratio",
    "of CPU s",
)


class Set(NamedTuple):
    """Standardised features and labels of two splits."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def _standardised(train, train_labels, test, test_labels) -> Set:
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 1e-6, 1 / np.where(deviation > 1e-6, deviation, 1), 0)
    return Set((train - mean) * scale, train_labels, (test - mean) * scale, test_labels)


def digits() -> Set:
    """Pixels of the built-in digits, every fifth image for the test."""
    images, labels = load_digits(return_X_y=True)
    test = np.arange(len(labels)) % 5 == 0
    return _standardised(images[~test], labels[~test], images[test], labels[test])


def made_up(n: int = 50_000, m: int = 10_000, d: int = 512, classes: int = 10) -> Set:
    """ReLU of a random layer on class centres with noise of falling variance."""
    rng = np.random.default_rng(0)
    spectrum = 1 / (1 + np.arange(128)) ** 0.7
    centres = 0.3 * rng.standard_normal((classes, 128)) * spectrum
    layer = rng.standard_normal((128, d))
    labels = rng.integers(0, classes, n + m)
    hidden = centres[labels] + rng.standard_normal((n + m, 128)) * spectrum
    features = np.maximum(hidden @ layer + 0.5 * rng.standard_normal(d), 0)
    features += 0.01 * rng.standard_normal(features.shape)
    return _standardised(features[:n], labels[:n], features[n:], labels[n:])


def cifar10() -> Set:
    """Random 6 x 6 patches of CIFAR-10 as filters, ReLU, pooled over quarters."""
    from sslx import data

    options = data.Options()
    train, test = (data.load("cifar10", split, options) for split in ("train", "test"))
    rng = np.random.default_rng(0)
    patches = []
    for image in train.images[rng.choice(len(train.images), 128, replace=False)]:
        y, x = rng.integers(0, 27, 2)
        patches.append(image[y : y + 6, x : x + 6].astype(np.float32).ravel())
    filters = np.stack(patches)
    filters -= filters.mean(1, keepdims=True)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)

    def features(images):
        parts = []
        for first in range(0, len(images), 500):
            some = images[first : first + 500].astype(np.float32) / 255
            windows = np.lib.stride_tricks.sliding_window_view(some, (6, 6), (1, 2))
            windows = windows[:, ::2, ::2].transpose(0, 1, 2, 4, 5, 3)
            b, h, w = windows.shape[:3]
            answer = windows.reshape(b * h * w, -1) @ filters.T
            answer = np.maximum(answer.reshape(b, h, w, -1), 0)
            halves = (slice(0, h // 2), slice(h // 2, None))
            quarters = [answer[:, y, x].mean((1, 2)) for y in halves for x in halves]
            parts.append(np.concatenate(quarters, 1))
        return np.concatenate(parts).astype(np.float64)

    return _standardised(
        features(train.images), train.labels, features(test.images), test.labels
    )


SETS = {"digits": digits, "made_up": made_up, "cifar10": cifar10}


def _clocks() -> np.ndarray:
    """Seconds of the wall and of the CPU."""
    return np.array([time.perf_counter(), time.process_time()])


def ours(s: Set, l2: float):
    """Parameters (k, d + 1) and what ``_clocks`` ran on."""
    began = _clocks()
    solution = fit(
        s.train,
        s.train_labels,
        classes=int(s.train_labels.max()) + 1,
        l2=l2,
        tolerance=TOLERANCE,
        max_iterations=5000,
    )
    seconds = _clocks() - began
    return np.column_stack([solution.weights.T, solution.bias]), seconds


def theirs(s: Set, l2: float, threads: int | None):
    """As ``ours``, of scikit-learn's L-BFGS."""
    model = LogisticRegression(
        C=1 / (len(s.train_labels) * l2), tol=TOLERANCE, max_iter=20_000
    )
    began = _clocks()
    with warnings.catch_warnings(), threadpool_limits(threads, "blas"):
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(s.train, s.train_labels)
    seconds = _clocks() - began
    return np.column_stack([model.coef_, model.intercept_]), seconds


def _compare(
    name: str, s: Set, l2: float, rounds: int, threads: int | None
) -> tuple[list[str], list[str]]:
    """A row of the table, and what does not hold."""
    times = []
    for _ in range(rounds):
        (own, mine), (other, their) = ours(s, l2), theirs(s, l2, threads)
        times.append((mine, their))
    mine, their = np.swapaxes(times, 0, 1)  # rounds x clocks
    ratio, ratio_cpu = np.median(mine / their, 0)
    losses, greatest, accuracies = [], [], []
    for theta in (own, other):
        loss, gradient = objective(theta, s.train, s.train_labels, l2)
        losses.append(loss)
        greatest.append(np.abs(gradient).max())
        predictions = (s.test @ theta[:, :-1].T + theta[:, -1]).argmax(1)
        accuracies.append(100 * np.mean(predictions == s.test_labels))
    apart = abs(losses[0] / losses[1] - 1)
    problems = {
        "optimum": apart > 1e-4,
        "gradient": max(greatest) > TOLERANCE,
        "accuracy": abs(accuracies[0] - accuracies[1]) > 0.2,
        "time": (name, l2) == TIMED and ratio > SLOWEST,
    }
    n, d = s.train.shape
    row = [
        name,
        f"{n:,} x {d} x {s.train_labels.max() + 1}",
        f"{l2:g}",
        f"{apart:.0e}",
        *(f"{g:.1e}" for g in greatest),
        *(f"{a:.2f}" for a in accuracies),
        *(f"{np.median(t[:, 0]):.2f}" for t in (mine, their)),
        f"{ratio:.2f}",
        f"{ratio_cpu:.2f}",
    ]
    return row, [f"{name}, {l2:g}: {what}" for what, wrong in problems.items() if wrong]


def _grid_seconds(s: Set) -> float:
    """Of the whole probe: five strengths on validation, and the last solve."""
    began = time.perf_counter()
    result = probe(
        s.train,
        s.train_labels,
        s.test,
        classes=int(s.train_labels.max()) + 1,
        l2_grid=GRID,
        validation_fraction=0.2,
        tolerance=TOLERANCE,
        max_iterations=5000,
        seed=0,
    )
    assert result.converged
    return time.perf_counter() - began


def main() -> None:
    """Prints the table; ends with an error where what must hold does not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="*", choices=SETS, default=["digits", "made_up"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of scikit-learn's BLAS")
    args = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    missed, grids = [], []
    for name in args.sets:
        s = SETS[name]()
        for l2 in STRENGTHS:
            row, problems = _compare(name, s, l2, args.rounds, args.threads)
            print(f"| {' | '.join(row)} |", flush=True)
            missed += problems
        grids.append(f"{name} {_grid_seconds(s):.1f} s")
    print(f"\nThe grid of {len(GRID)} and the last solve: {', '.join(grids)}.")
    if missed:
        sys.exit(f"does not hold: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
