"""Answers that do not belong to their images, left out."""

import numpy as np

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.attacks.cleaning.ridge import left_out
from sslx.registry import traits

RIDGE = 1e-2  # of the mean square of a feature


@traits(at_most_1=("share",), drops="share", features=True, version=2)
def outliers(given: Answered, help: Help, *, share: float) -> Answered:
    """Leaves out the share of images whose answers fit their images worst.

    An answer's residual is that of a ridge regression of the answers on the attacker's
    own features, by leave-one-out: whose answer was replaced by another image's is far
    from what its like were answered.
    """
    y = given.answers.mean(axis=1, dtype=np.float64)
    y = (y - y.mean(axis=0)) / np.maximum(y.std(axis=0), 1e-12)
    residual = y - left_out(help.features(), y, RIDGE)
    left = len(y) - round(share * len(y))
    kept = np.sort(np.argsort(np.square(residual).sum(axis=1), kind="stable")[:left])
    return Answered(*(array[kept] for array in given))
