"""Features laid out in the plane, to look at: PCA, then t-SNE; and one map on another.

A map is a picture and no measurement: t-SNE keeps who is near whom, while distances
between groups, their sizes and their places mean little.
"""

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from sslx.types import refuse_if

COMPONENTS = 50  # of the PCA before t-SNE, as its authors do
PERPLEXITY = 30.0  # neighbours a point cares for; fewer where there are few points
ITERATIONS = 500  # half of them exaggerated; 1,000 points look the same after 1,000


def plane(features: Float[np.ndarray, "n d"], *, seed: int) -> Float[np.ndarray, "n 2"]:
    """Lays rows out in the plane by their directions.

    Rows are scaled to length 1, as kNN compares them; the first principal components
    go into t-SNE, which starts from the first two. The same input gives the same map
    to the last bit on one machine.

    Args:
        features: Finite, at least 4 rows.
        seed: Of t-SNE, which draws nothing where it starts from PCA.

    Returns:
        Centred points, float64; all zero where the rows do not differ.

    Raises:
        UserError: Too few rows, or features are not finite.

    Source: van der Maaten and Hinton 2008, "Visualizing data using t-SNE".
    """
    from sklearn.decomposition import PCA  # a second, so only when wanted
    from sklearn.manifold import TSNE

    refuse_if(
        len(features) < 4 or not np.isfinite(features).all(),
        "a map needs 4 rows or more, all of them finite",
    )
    rows = features.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(length > 0, length, 1)
    rows -= rows.mean(0)
    spread = rows.std(0).max()
    if spread < 1e-9:  # a collapsed encoder; t-SNE would divide by nothing
        return np.zeros((len(rows), 2))
    # One thread: with more, sums are taken in an order that changes from run to run,
    # and t-SNE makes another map of the last bit.
    with threadpool_limits(1):
        components = PCA(min(COMPONENTS, *rows.shape), svd_solver="full")
        reduced = components.fit_transform(rows)
        start = np.zeros((len(rows), 2))
        start[:, : reduced.shape[1]] = reduced[:, :2]
        points = TSNE(
            perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
            init=1e-4 * start / start.std(0).max(),
            max_iter=ITERATIONS,
            random_state=seed,
        ).fit_transform(reduced)
    points = points.astype(np.float64)
    return points - points.mean(0)


def turn_onto(
    points: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 2"]:
    """Turns and mirrors a centred map so that its points lie nearest those of another.

    Distances between the points stay what they are: nothing is stretched or bent.

    Args:
        points: The map to turn, centred.
        target: The map of the same rows to turn it onto, centred.

    Source: orthogonal Procrustes, Schoenemann 1966.
    """
    left, _, right = np.linalg.svd(points.T @ target)
    return points @ (left @ right)
