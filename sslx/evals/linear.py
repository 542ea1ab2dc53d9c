"""The linear probe: convex softmax regression on frozen features."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sslx.types import UserError

SMALL = 10**9  # multiplications in one product of features and weights


class Solution(NamedTuple):
    """The softmax regression that ``fit`` ended with.

    Attributes:
        weights: (d, k).
        bias: (k,).
        loss: Mean cross-entropy in nats plus the penalty.
        gradient_norm: Greatest absolute entry of the gradient of ``loss``.
        iterations: Of L-BFGS.
        converged: Whether ``gradient_norm`` is at most the tolerance asked for.
    """

    weights: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    loss: float
    gradient_norm: float
    iterations: int
    converged: bool


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
) -> ProbeResult:
    """Fit a linear classifier on training features and predict the test rows.

    One protocol for every encoder: features are standardised by the training rows in
    use; a part of the training split, drawn by ``seed``, chooses the strength (ties go
    to the stronger); the whole training split is then fitted with it. Test labels do
    not enter, and test features only in the last line.

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

    Raises:
        UserError: Labels, features, grid or fraction are out of their range, the rows
            fitted hold a single class, or fewer than 2 rows are left for validation.

    Source: Chen et al. 2020 (SimCLR), appendix B.8: L-BFGS, l2 chosen on validation.
    """
    _check_finite("test", test_features)
    _check(train_features, train_labels, classes, min(l2_grid, default=0.0))
    held = _validation_part(len(train_labels), validation_fraction, seed, groups)
    solve = partial(
        fit, classes=classes, tolerance=tolerance, max_iterations=max_iterations
    )
    mean, scale = _standardiser(train_features[~held])
    fitted = (train_features[~held] - mean) * scale
    validation = (train_features[held] - mean) * scale
    accuracy: dict[float, float] = {}
    solutions: dict[float, Solution] = {}
    start = None
    for l2 in sorted(set(l2_grid), reverse=True):
        start = solve(fitted, train_labels[~held], l2=l2, start=start)
        solutions[l2] = start
        right = _predict(start, validation) == train_labels[held]
        accuracy[l2] = float(right.mean())
    # The first maximum of a dict that runs from the strongest to the weakest.
    best = max(accuracy, key=accuracy.__getitem__)
    del fitted, validation  # as large as the features; the last solve needs the room

    mean, scale = _standardiser(train_features)
    features = (train_features - mean) * scale
    last = solve(features, train_labels, l2=best, start=solutions[best])
    return ProbeResult(
        predictions=_predict(last, (test_features - mean) * scale),
        l2=best,
        at_edge=best in (min(l2_grid), max(l2_grid)),
        validation_accuracy=accuracy,
        converged=last.converged and all(s.converged for s in solutions.values()),
        solution=last,
        mean=mean,
        scale=scale,
    )


def fit(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    *,
    classes: int,
    l2: float,
    tolerance: float,
    max_iterations: int,
    start: Solution | None = None,
) -> Solution:
    """Minimise mean cross-entropy + l2 / 2 * ||weights||^2; the bias is free.

    scikit-learn's ``LogisticRegression(C=1 / (n * l2))`` has the same optimum. The
    objective is strictly convex but for a constant added to every bias, so ``start``
    changes the time and not the result. All of it in float64.

    Args:
        features: Finite. They are taken as they are, not standardised.
        labels: Values 0 to classes - 1, two or more of them present.
        classes: Number of classes, present or not.
        l2: Positive; does not grow with n.
        tolerance: Greatest absolute entry of the gradient to stop at. Rounding of the
            loss ends the search at about 1e-8 (``converged`` is then false).
        max_iterations: L-BFGS iterations at most; see ``Solution.converged``.
        start: A solution to start from; zeros if not given.

    Raises:
        UserError: l2, labels or features are out of their range.

    Source: Liu and Nocedal 1989 (L-BFGS), in variables of near unit Hessian.
    """
    _check(features, labels, classes, l2)
    features = features.astype(np.float64, copy=False)
    theta = np.zeros((classes, features.shape[1] + 1))
    if start is not None:
        theta[:] = np.column_stack([start.weights.T, start.bias])
    # BLAS threads wait for each other by spinning: on small products and a shared
    # machine they made this 30 times slower. None leaves them as they are.
    threads = 1 if features.size * classes < SMALL else None
    with threadpool_limits(threads, "blas"):
        return _solve(theta, features, labels, l2, tolerance, max_iterations)


def _solve(
    start: Float[np.ndarray, "k e"],
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    l2: float,
    tolerance: float,
    max_iterations: int,
) -> Solution:
    change = _change_of_variables(start, features, l2)
    reached = np.inf

    def objective(flat):
        nonlocal reached
        theta = start + flat.reshape(start.shape) @ change
        loss, gradient = _objective(theta, features, labels, l2)
        reached = np.abs(gradient).max()
        return loss, (gradient @ change.T).ravel()

    def stop(intermediate_result):
        # Scipy's own test sees the gradient in the changed variables. An iteration
        # ends with the evaluation of the point it accepts, so ``reached`` is of here.
        if reached <= tolerance:
            raise StopIteration

    result = minimize(
        objective,
        np.zeros(start.size),
        jac=True,
        method="L-BFGS-B",
        callback=stop,
        # Of scipy's limits only maxiter: an iteration is 20 evaluations at most.
        options=dict(maxiter=max_iterations, maxfun=10**9, ftol=0, gtol=0),
    )
    theta = start + result.x.reshape(start.shape) @ change
    loss, gradient = _objective(theta, features, labels, l2)
    norm = float(np.abs(gradient).max())
    weights, bias = theta[:, :-1].T.copy(), theta[:, -1].copy()
    done = norm <= tolerance
    return Solution(weights, bias, float(loss), norm, int(result.nit), done)


def _objective(
    theta: Float[np.ndarray, "k e"],
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    l2: float,
) -> tuple[float, Float[np.ndarray, "k e"]]:
    """Loss and gradient; theta is the weights, transposed, and the bias as last column.

    Laid out (k, n): a sum over classes adds long rows, twice as fast as (n, k).
    """
    weights, n = theta[:, :-1], len(labels)
    every = np.arange(n)
    logits = _shifted_logits(theta, features)
    right = logits[labels, every]
    probabilities = np.exp(logits, out=logits)
    total = probabilities.sum(0)
    loss = (np.log(total) - right).mean() + l2 / 2 * np.square(weights).sum()
    probabilities /= total
    probabilities[labels, every] -= 1
    gradient = np.empty_like(theta)
    gradient[:, :-1] = probabilities @ features / n + l2 * weights
    gradient[:, -1] = probabilities.mean(1)
    return loss, gradient


def _shifted_logits(
    theta: Float[np.ndarray, "k e"], features: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "k n"]:
    """Logits less their greatest over classes: exp stays within 0 and 1."""
    logits = theta[:, :-1] @ features.T
    logits += theta[:, -1:]
    logits -= logits.max(0)
    return logits


def _change_of_variables(
    theta: Float[np.ndarray, "k e"], features: Float[np.ndarray, "n d"], l2: float
) -> Float[np.ndarray, "e e"]:
    """Inverse Cholesky factor of about the Hessian at theta, one block for all classes.

    Features of encoders are nearly collinear; in variables changed by it L-BFGS needs
    some ten times fewer iterations, and the optimum is where it was.
    """
    # An estimate is enough, and eight rows for each column give a good one.
    step = max(1, len(features) // (8 * theta.shape[1]))
    probabilities = np.exp(_shifted_logits(theta, features[::step]))
    rows = np.column_stack([features[::step], np.ones(probabilities.shape[1])])
    probabilities /= probabilities.sum(0)
    curvature = (probabilities * (1 - probabilities)).mean(0)
    hessian = (rows * curvature[:, None]).T @ rows / len(rows)
    diagonal = np.einsum("ii->i", hessian)
    diagonal[:-1] += l2
    diagonal += 1e-10 * diagonal.max()  # positive in rounding too
    factor = np.linalg.cholesky(hessian)
    return solve_triangular(factor, np.eye(len(factor)), lower=True)


def _predict(
    solution: Solution, features: Float[np.ndarray, "n d"]
) -> Integer[np.ndarray, " n"]:
    return (features @ solution.weights + solution.bias).argmax(1)


def _standardiser(
    features: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Mean and one over the standard deviation, 0 where a feature is constant."""
    mean = features.mean(0, dtype=np.float64)
    deviation = features.std(0, dtype=np.float64)
    # Encoders answer in float32: what varies by less than its resolution is rounding,
    # and dividing by it would turn noise into a feature.
    resolution = np.finfo(np.float32).eps * np.abs(features).max(0)
    varies = deviation > resolution
    return mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0.0)


def _validation_part(
    n: int, fraction: float, seed: int, groups: Integer[np.ndarray, " n"] | None
) -> Bool[np.ndarray, " n"]:
    """Which rows are held out to choose the strength."""
    groups = np.arange(n) if groups is None else groups
    units, unit_of_row = np.unique(groups, return_inverse=True)
    held = np.zeros(len(units), bool)
    order = np.random.default_rng(seed).permutation(len(units))
    held[order[: round(max(0, fraction) * len(units))]] = True
    rows = held[unit_of_row]
    if rows.sum() < 2 or rows.all():
        raise UserError(
            f"linear probe: validation_fraction={fraction} holds out {rows.sum()} of "
            f"{n} training images; at least 2 must be held out and some be left"
        )
    return rows


def _check_finite(name: str, features) -> None:
    if not np.isfinite(features).all():
        raise UserError(f"linear probe: the {name} features hold NaN or infinity")


def _check(features, labels, classes: int, l2: float) -> None:
    if not l2 > 0:
        raise UserError(f"linear probe: every l2 must be above 0, not {l2}")
    low, high = labels.min(), labels.max()
    if low < 0 or high >= classes:
        raise UserError(
            f"linear probe: labels run from {low} to {high}, not 0 to {classes - 1}"
        )
    if low == high:
        raise UserError(f"linear probe: the training images are all of class {low}")
    _check_finite("training", features)

