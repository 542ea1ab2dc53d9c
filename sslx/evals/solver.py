"""Softmax regression on features as they are: the optimum, and how near it is."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Integer
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sslx.evals.softmax import on_device, on_host, shifted_logits
from sslx.types import refuse_if

SMALL = 10**9  # multiplications in one product of features and weights
FOR_DEVICES = 10**8  # from so many an accelerator is worth its compile time


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
    changes the time and not the result. All of it in float64, on an
    accelerator where JAX has one and the problem is large.

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
    check_problem(features, labels, classes, l2)
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
    accelerated = jax.default_backend() != "cpu"
    large = features.size * len(start) >= FOR_DEVICES
    place = on_device if accelerated and large else on_host
    evaluate = place(features, labels, l2, start=start, change=change)
    reached = np.inf

    def objective(flat):
        nonlocal reached
        loss, gradient, reached = evaluate(flat.reshape(start.shape))
        return loss, gradient.ravel()

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
    step = result.x.reshape(start.shape)
    theta = start + step @ change
    loss, _, norm = evaluate(step)
    weights, bias = theta[:, :-1].T.copy(), theta[:, -1].copy()
    done = norm <= tolerance
    return Solution(weights, bias, loss, norm, int(result.nit), done)


def _change_of_variables(
    theta: Float[np.ndarray, "k e"], features: Float[np.ndarray, "n d"], l2: float
) -> Float[np.ndarray, "e e"]:
    """Inverse Cholesky factor of about the Hessian at theta, one block for all classes.

    Features of encoders are nearly collinear; in variables changed by it L-BFGS needs
    some ten times fewer iterations, and the optimum is where it was.
    """
    # An estimate is enough, and eight rows for each column give a good one.
    step = max(1, len(features) // (8 * theta.shape[1]))
    probabilities = np.exp(shifted_logits(theta, features[::step]))
    rows = np.column_stack([features[::step], np.ones(probabilities.shape[1])])
    probabilities /= probabilities.sum(0)
    curvature = (probabilities * (1 - probabilities)).mean(0)
    hessian = (rows * curvature[:, None]).T @ rows / len(rows)
    diagonal = np.einsum("ii->i", hessian)
    diagonal[:-1] += l2
    diagonal += 1e-10 * diagonal.max()  # positive in rounding too
    factor = np.linalg.cholesky(hessian)
    return solve_triangular(factor, np.eye(len(factor)), lower=True)


def check_finite(name: str, features: Float[np.ndarray, "_ _"]) -> None:
    """Refuses features that are not finite.

    Raises:
        UserError: As said.
    """
    refuse_if(
        not np.isfinite(features).all(),
        f"linear probe: the {name} features hold NaN or infinity",
    )


def check_problem(
    features: Float[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    classes: int,
    l2: float,
) -> None:
    """Refuses what no softmax regression can be fitted to.

    Raises:
        UserError: l2, labels or features are out of their range.
    """
    refuse_if(
        not l2 > 0,
        f"linear probe: every l2 must be above 0, not {l2}",
    )
    low, high = labels.min(), labels.max()
    refuse_if(
        low < 0 or high >= classes,
        f"linear probe: labels run from {low} to {high}, not 0 to {classes - 1}",
    )
    refuse_if(
        low == high,
        f"linear probe: the training images are all of class {low}",
    )
    check_finite("training", features)


def scaling(
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
