"""Which images of the pool to ask next.

A chooser is ``(random, free, count, features, **numbers) -> rows``: from ``free``,
int64 (m,), the rows of the pool that were not asked yet, it gives ``count`` different
ones, int64 (count,), in the order in which to ask them. ``features``, float32
(pool, d), are those of every image of the pool, in an encoder of the attacker's; None
where ``Chooser.needs_features`` is false.

What a plan rests on besides the seed (features, cluster centres) is rounded otherwise
on another machine: a plan that needs features is to be kept, not made a second time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from sslx.rng import host_stream
from sslx.types import refuse_if

BATCH = 4096  # images of one step of k-means
STREAM = "plan"  # of the seed, one step for each round


class Chooser(NamedTuple):
    """A way to choose images.

    Attributes:
        choose: As the head of this file says.
        needs_features: Whether it looks at features.
    """

    choose: Callable[..., np.ndarray]
    needs_features: bool


def _random(
    random: np.random.Generator,
    free: Int64[np.ndarray, " m"],
    count: int,
    features: Float32[np.ndarray, "pool d"] | None,
) -> Int64[np.ndarray, " count"]:
    """Images drawn without looking; costs nothing."""
    _check(free, count)
    # A prefix of one permutation: with one seed, a smaller budget asks a subset of
    # what a larger one asks, so a sweep over budgets compares like with like.
    return free[random.permutation(len(free))[:count]]


def _kmeans(
    random: np.random.Generator,
    free: Int64[np.ndarray, " m"],
    count: int,
    features: Float32[np.ndarray, "pool d"] | None,
    *,
    clusters: int,
) -> Int64[np.ndarray, " count"]:
    """Images that stand for all kinds there are: from every cluster equally many.

    k-means with ``min(clusters, count)`` centres on the standardised features of what
    is free; then one image of each cluster in turn, those nearest to the centre first,
    and where a cluster is empty the turn is the others'. With one seed and at least
    ``clusters`` images, a smaller budget asks a subset of what a larger one asks.

    Cost: ``m * clusters * d`` multiplications for each pass over the features: mini-
    batches of 4,096 until ten bring no gain (100 passes at most), and one pass to tell
    whose each image is; one copy of the features. Measured with 512 features and 100
    clusters on one core: 10,000 images 1.3 s, 60,000 images 2.6 s. One thread, so that
    sums are added in one order.

    Source: Sculley 2010 (mini-batch k-means); Arthur and Vassilvitskii 2007 (starts).
    """
    cluster, distance = _clustered(random, free, count, features, clusters)
    return free[_in_turn(cluster, distance)[:count]]


def _clustered(
    random: np.random.Generator,
    free: Int64[np.ndarray, " m"],
    count: int,
    features: Float32[np.ndarray, "pool d"] | None,
    clusters: int,
) -> tuple[Integer[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Of each free image its cluster, and how far it is from the centre, squared."""
    _check(free, count)
    if features is None:
        raise ValueError("k-means needs features")
    refuse_if(
        clusters < 1,
        f"k-means with {clusters} clusters: write 1 or more",
    )
    x = _standardised(features[free])
    method = MiniBatchKMeans(
        n_clusters=min(clusters, count),
        batch_size=BATCH,
        n_init=1,
        random_state=int(random.integers(2**31)),
    )
    with threadpool_limits(1):
        cluster = method.fit_predict(x)
        distance = np.square(x - method.cluster_centers_[cluster]).sum(1)
    return cluster, distance


def _narrow(
    random: np.random.Generator,
    free: Int64[np.ndarray, " m"],
    count: int,
    features: Float32[np.ndarray, "pool d"] | None,
    *,
    clusters: int,
) -> Int64[np.ndarray, " count"]:
    """Images of few kinds: whole clusters, the largest first, until there are enough.

    Against a defence that looks at how much of its answers' space an account has seen
    (B4B): whoever asks in few places has seen little. Clusters, cost and source as of
    ``kmeans``; within a cluster those nearest to its centre come first.
    """
    cluster, distance = _clustered(random, free, count, features, clusters)
    sizes = np.bincount(cluster)
    largest = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return free[np.lexsort((distance, largest[cluster]))[:count]]


def _in_turn(
    cluster: Integer[np.ndarray, " m"], distance: Float[np.ndarray, " m"]
) -> Int64[np.ndarray, " m"]:
    """All of 0..m-1: the nearest of each cluster, then the second nearest of each."""
    order = np.lexsort((distance, cluster))
    sizes = np.bincount(cluster)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = np.arange(len(order)) - first  # within the cluster
    return order[np.argsort(rank, kind="stable")]


def refined(
    features: Float32[np.ndarray, "pool d"],
    asked: Int64[np.ndarray, " n"],
    answers: Float32[np.ndarray, "n k"],
    *,
    ridge: float,
) -> Float32[np.ndarray, "pool k"]:
    """What the victim would answer to the whole pool, by what it answered so far.

    A linear map from the attacker's features to the answers, fitted to the images
    asked; k-means on what it predicts chooses the next round by what the victim tells
    apart and not by what the attacker's own encoder does. Minimises the mean over
    images of the squared error plus ``ridge`` times the squared weights of the
    standardised features; the constant is free.

    Cost: ``n * d * min(n, d)`` multiplications and ``pool * d * k`` for the prediction.

    Args:
        features: Of every image of the pool.
        asked: Rows of the images asked.
        answers: Of each; the mean over its views where there are several.
        ridge: Above 0. Towards 0 it finds a victim that is linear in the features.

    Raises:
        UserError: ``ridge`` is not above 0.
    """
    refuse_if(
        not ridge > 0,
        f"the ridge of a plan's prediction must be above 0, not {ridge}",
    )
    x = _standardised(features)
    with threadpool_limits(1):
        model = Ridge(ridge * len(asked), solver="cholesky")
        model.fit(x[asked].astype(np.float64), answers.astype(np.float64))
        weights, bias = (w.astype(np.float32) for w in (model.coef_, model.intercept_))
        return x @ weights.reshape(-1, x.shape[1]).T + bias


def _standardised(
    features: Float32[np.ndarray, "n d"],
) -> Float32[np.ndarray, "n d"]:
    """Mean 0 and deviation 1 in each column; 0 throughout where it hardly varies."""
    refuse_if(
        not np.isfinite(features).all(),
        "features to plan by hold NaN or infinity",
    )
    mean = features.mean(0, dtype=np.float64)
    deviation = features.std(0, dtype=np.float64)
    # Below float32's resolution a column's variation is rounding, and no feature.
    varies = deviation > np.finfo(np.float32).eps * np.abs(features).max(0)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return (features - mean.astype(np.float32)) * scale.astype(np.float32)


def _check(free: np.ndarray, count: int) -> None:
    refuse_if(
        not 0 < count <= len(free),
        f"{count} images to ask of {len(free)} that are left",
    )


PLANS: dict[str, Chooser] = {
    "random": Chooser(_random, needs_features=False),
    "kmeans": Chooser(_kmeans, needs_features=True),
    "narrow": Chooser(_narrow, needs_features=True),
}


def drawn(seed: int, pool: int, shares: Sequence[int]) -> Int64[np.ndarray, " n"]:
    """The rows that a plan asks which looks at no features, of all its rounds.

    Args:
        seed: The attacker's.
        pool: How many images he has.
        shares: How many are asked in each round.
    """
    rows = np.zeros(0, np.int64)
    for round_, count in enumerate(shares):
        free = np.setdiff1d(np.arange(pool), rows)
        chosen = _random(host_stream(seed, STREAM, round_), free, count, None)
        rows = np.concatenate([rows, chosen])
    return rows
