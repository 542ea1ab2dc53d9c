"""How alike two encoders are where no map between their features is looked for.

Row i of both matrices is the same image; the widths may differ. All compute in float64,
and none of them needs a label.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer

from sslx.evals.knn import neighbours
from sslx.types import UserError, refuse_if

TINY = 1e-10  # the follow-up study adds it to every distance: log of 0 for duplicates


def check(*features: Float[np.ndarray, "_ _"]) -> None:
    """Refuses features that are not finite or not of the same images.

    Raises:
        UserError: As said.
    """
    if len({len(x) for x in features}) > 1:
        counts = ", ".join(str(len(x)) for x in features)
        raise UserError(f"fidelity: features of the same images needed, not {counts}")
    refuse_if(
        not all(np.isfinite(x).all() for x in features),
        "fidelity: the features hold NaN or infinity",
    )


def varying(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " d"]:
    """Which features differ between rows by more than the resolution of float32.

    Encoders answer in float32; what varies by less is rounding. None of them in a
    collapsed encoder.
    """
    if not len(features):
        return np.zeros(features.shape[1], bool)
    resolution = np.finfo(np.float32).eps * np.abs(features).max(0)
    return features.std(0, dtype=np.float64) > resolution


def cka(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> float:
    """Linear centred kernel alignment from unbiased estimates, in [-1, 1].

    1 for features that are a rotation, reflection, shift or common scale of each other,
    about 0 for independent ones at any width (the biased estimate nears 1 where there
    are more features than rows), slightly negative by chance. 0 where either side is
    collapsed, or has fewer than 4 rows: nothing is shared. Directions count by their
    variance, so that a linear map that is no rotation lowers it.

    Time grows with n * d * e; no matrix of n x n is made.

    Source: Kornblith et al. 2019 (CKA) on HSIC_1 of Song et al. 2012, equation 5, as
    Nguyen et al. 2020, "Do wide and deep networks learn the same things?", use it on
    batches; here on all rows at once.
    """
    check(x, y)
    if len(x) < 4 or not (varying(x).any() and varying(y).any()):
        return 0.0
    x, y = _normalised(x), _normalised(y)
    own = _hsic(x, x) * _hsic(y, y)
    # With norms of 1 a sum of squares is of order 1; below this it is rounding.
    if own <= 1e-24:
        return 0.0
    return float(np.clip(_hsic(x, y) / np.sqrt(own), -1, 1))


def _hsic(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> float:
    """Song's estimate times n * (n - 3), for centred features of Frobenius norm 1.

    With K = x xT and L = y yT, both without their diagonals k and l:
    tr(K L) = |xT y|^2 - k.l, and the row sums of K are x (xT 1) - k = -k when centred.
    """
    n = len(x)
    k, m = np.square(x).sum(1), np.square(y).sum(1)
    trace = np.square(x.T @ y).sum() - k @ m
    return trace + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m)


def neighbour_overlap(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "n e"],
    *,
    k: int,
    groups: Integer[np.ndarray, " n"],
) -> float:
    """Share of the k nearest rows by cosine that both encoders agree on, in [0, 1].

    Mean over rows; k / (n - 1) by chance, 1 for rotations and common scales, and for
    all that keeps who is near whom. 0 where the rows of either side all point one way:
    they are then near each other in no order.

    Args:
        x: Features of one encoder.
        y: Features of the other, of the same images.
        k: Neighbours of each row.
        groups: Rows of the same value (views of one picture) are no neighbours.

    Raises:
        UserError: A row has fewer than k others, or features are not finite.

    Source: Huh et al. 2024, "The platonic representation hypothesis", section 2 and
    appendix A: mutual k-nearest-neighbour metric.
    """
    check(x, y)
    near = [neighbours(features, k=k, groups=groups) for features in (x, y)]
    if not (varying(directions(x)).any() and varying(directions(y)).any()):
        return 0.0
    n = len(x)
    # One set for all rows: a neighbour's column plus n times the row.
    row = n * np.arange(n)[:, None]
    one, two = (near[0] + row).ravel(), (near[1] + row).ravel()
    return len(np.intersect1d(one, two, assume_unique=True)) / (n * k)


def information(
    victim: Float[np.ndarray, "n d"],
    other: Float[np.ndarray, "n e"],
    untrained: Float[np.ndarray, "n f"],
) -> float | None:
    """Mutual information with the victim's features, in [0, 1] of what is possible.

    (I(V, S) - I(V, R)) / (I(V, V) - I(V, R)), clipped, V victim, S other, R untrained:
    0 is an untrained encoder, 1 the victim itself. I(A, B) = H(A) + H(B) - H([A, B])
    with entropies by the distance to the nearest neighbour. In hundreds of dimensions
    the estimate is far from the true information in nats (it may be negative); it
    ranks, and it changes with a linear map. Two matrices of n x n are held.

    Returns:
        0 where the other encoder is collapsed. None where there is no scale: victim or
        untrained encoder collapsed, or the untrained one says as much as the victim.

    Source: Dziedzic et al. 2022, "Dataset inference for self-supervised models", its
    released code (similarity_metrics); Kozachenko and Leonenko 1987.
    """
    check(victim, other, untrained)
    if len(victim) < 2:
        return None
    if not (varying(victim).any() and varying(untrained).any()):
        return None
    if not varying(other).any():
        return 0.0
    own = _squared_distances(victim)

    def shared(features, squared):
        d, e = victim.shape[1], features.shape[1]
        # Squared distances of rows laid side by side add up.
        return _entropy(own, d) + _entropy(squared, e) - _entropy(own + squared, d + e)

    least = shared(untrained, _squared_distances(untrained))
    scale = shared(victim, own) - least
    if scale <= 1e-9 * abs(least):
        return None
    return float(
        np.clip((shared(other, _squared_distances(other)) - least) / scale, 0, 1)
    )


def _entropy(squared: Float[np.ndarray, "n n"], d: int) -> float:
    """Differential entropy in nats of rows with these squared distances."""
    from scipy.special import gammaln

    n = len(squared)
    radius = np.sqrt(squared.min(1)) + TINY
    ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)  # log volume of the unit ball
    return np.log(n - 1) + d * np.log(radius).mean() + ball + np.euler_gamma


def _squared_distances(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Between all rows, infinite to itself."""
    from scipy.spatial.distance import pdist, squareform

    # By differences: products of rows would give duplicates a distance of rounding.
    squared = squareform(pdist(_normalised(features), "sqeuclidean"))
    np.fill_diagonal(squared, np.inf)
    return squared


def _normalised(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Centred and of Frobenius norm 1; the features must vary."""
    # By the greatest entry first: squares of very small or large ones leave the range.
    largest = np.abs(features).max()
    rows = features.astype(np.float64) / largest
    rows -= rows.mean(0)
    return rows / np.linalg.norm(rows)


def directions(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows of length 1; zero rows stay zero."""
    largest = np.abs(features).max(1, keepdims=True)  # as in ``_normalised``
    rows = features.astype(np.float64) / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
