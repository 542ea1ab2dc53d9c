"""Answers that do not belong to their images, left out."""

import numpy as np
from threadpoolctl import threadpool_limits

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.registry import traits

RIDGE = 1e-2  # of the mean square of a feature


@traits(at_most_1=("share",), drops="share", features=True)
def outliers(given: Answered, help: Help, *, share: float) -> Answered:
    """Leaves out the share of images whose answers fit their images worst.

    An answer's residual is that of a ridge regression of the answers on the attacker's
    own features, by leave-one-out: whose answer was replaced by another image's is far
    from what its like were answered.
    """
    x = help.features().astype(np.float64)
    x = x - x.mean(axis=0)
    x = np.column_stack([np.ones(len(x)), x / np.maximum(x.std(axis=0), 1e-12)])
    y = given.answers.mean(axis=1, dtype=np.float64)
    y = (y - y.mean(axis=0)) / np.maximum(y.std(axis=0), 1e-12)
    with threadpool_limits(1):
        inner = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
        hat = x @ np.linalg.solve(inner, x.T)
        residual = (y - hat @ y) / (1 - np.diag(hat))[:, None]
    left = len(y) - round(share * len(y))
    kept = np.sort(np.argsort(np.square(residual).sum(axis=1), kind="stable")[:left])
    return Answered(*(array[kept] for array in given))
