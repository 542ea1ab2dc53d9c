"""How far a set of features has collapsed: numbers to watch while an encoder trains.

All take features (n, d), float, one row an image, and compute in float64.
"""

import numpy as np
from jaxtyping import Float


def _unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    x = np.asarray(x, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def feature_std(features: Float[np.ndarray, "n d"]) -> float:
    """Standard deviation of each feature of the normalised rows, mean over features.

    Chen and He 2021, figure 2: 1 / sqrt(d) for rows spread evenly over the sphere, 0
    where all rows point one way.
    """
    return float(np.std(_unit(features), axis=0).mean())


def effective_rank(features: Float[np.ndarray, "n d"]) -> float:
    """Exponential of the entropy of the singular values, normalised to a sum of 1.

    Roy and Vetterli 2007, on the matrix as it is (not centred): in [1, min(n, d)]; k
    for k equal singular values. 0 where all features are 0.
    """
    values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    if not values.max() > 0:
        return 0.0
    p = values / values.sum()
    p = p[p > 0]
    return float(np.exp(-np.sum(p * np.log(p))))


def alignment(one: Float[np.ndarray, "n d"], two: Float[np.ndarray, "n d"]) -> float:
    """Mean squared distance between the normalised features of two views of an image.

    Wang and Isola 2020, with their exponent 2: in [0, 4], the lower the better
    aligned; 0 for a collapsed encoder too, so look at ``uniformity`` as well.
    """
    return float(np.sum((_unit(one) - _unit(two)) ** 2, axis=1).mean())


def uniformity(features: Float[np.ndarray, "n d"]) -> float:
    """Logarithm of the mean of exp(-2 |x - y|^2) over pairs of normalised rows.

    Wang and Isola 2020, with their t = 2: in [-8, 0], 0 where all rows point one way,
    the lower the more even (about -4 for many rows in high dimension). Memory grows
    with n^2: some thousand rows are enough.

    Raises:
        ValueError: Fewer than two rows.
    """
    if len(features) < 2:
        raise ValueError("uniformity compares rows; there is only one")
    rows = _unit(features)
    cosine = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(np.log(np.mean(np.exp(-4 * (1 - np.minimum(cosine, 1))))))
