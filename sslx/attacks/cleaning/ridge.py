"""What an answer should be, by those to other images."""

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits


def left_out(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"], ridge: float
) -> Float[np.ndarray, "n k"]:
    """Predictions of each row of y from that of x, by a fit to all other rows.

    Ridge regression on standardised columns; the fits without a row follow from the one
    with all, by its leverage (Allen 1974, PRESS).

    Args:
        x: Features.
        y: Of as many images.
        ridge: Of the mean square of a feature, above 0.
    """
    x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    x = np.column_stack([np.ones(len(x)), x / np.maximum(x.std(axis=0), 1e-12)])
    with threadpool_limits(1):
        inner = x.T @ x + ridge * len(x) * np.diag([0, *np.ones(x.shape[1] - 1)])
        fit = np.linalg.solve(inner, x.T).T
        leverage = np.einsum("nd,nd->n", x, fit)[:, None]
        return y - (y - x @ (fit.T @ y)) / (1 - leverage)
