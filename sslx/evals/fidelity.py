"""How near an encoder's features are to the victim's, without labels.

Row i of both is the same image. All compute in float64. ``fidelity`` gives every
measure; docs/evaluation.md says how to read them.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Integer

from sslx.evals.similarity import (
    check,
    cka,
    directions,
    information,
    neighbour_overlap,
    varying,
)
from sslx.types import refuse_if

Map = Callable[[Float[np.ndarray, "n e"]], Float[np.ndarray, "n d"]]
STRENGTHS = tuple(10.0 ** np.arange(-6, 7))  # of the ridge, for standardised features


def cosine(victim: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]) -> float:
    """Mean cosine of the angle between rows, in [-1, 1].

    Features that are 0 or more, as after a ReLU, have a large one with anything;
    compare it with that of the victim's mean. A row of zeros has cosine 0.
    """
    check(victim, other)
    a, b = directions(victim), directions(other)
    return float((a * b).sum(1).mean())


def distance(
    victim: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]
) -> float | None:
    """Mean L2 distance of rows, relative to the victim's from its mean; 0 or more.

    0 for equal features; 1 is no better than answering every image with the victim's
    mean. None where the victim is collapsed: nothing to be relative to.
    """
    check(victim, other)
    if not varying(victim).any():
        return None
    a, b = victim.astype(np.float64), other.astype(np.float64)
    spread = np.linalg.norm(a - a.mean(0), axis=1).mean()
    return float(np.linalg.norm(a - b, axis=1).mean() / spread)


def linear_map(
    x: Float[np.ndarray, "n e"],
    y: Float[np.ndarray, "n d"],
    groups: Integer[np.ndarray, " n"] | None = None,
) -> Map:
    """The best affine map from features x to features y: ridge regression.

    x is standardised; of ``STRENGTHS`` the one with the least leave-one-out error is
    taken, so that few rows for each column do not fit noise; where several rows show
    the same picture, that of five parts which divide none. Constant features count
    for nothing; where all are constant the map answers the mean of y.

    Args:
        x: Finite; at least 2 rows.
        y: Finite, of the same images.
        groups: What a row shows; each its own if not given.

    Source: Hoerl and Kennard 1970; the error as in scikit-learn's ``RidgeCV``.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold

    check(x, y)
    used = varying(x)
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    scale = np.where(used, 1, 0) / np.where(used, x.std(0, dtype=np.float64), 1)
    if not (used.any() and varying(y).any()):
        return lambda rows: np.tile(mean_y, (len(rows), 1))
    parts, units = None, len(x) if groups is None else len(np.unique(groups))
    if 1 < units < len(x):
        parts = list(GroupKFold(min(5, units)).split(x, y, groups))
    fitted = RidgeCV(
        STRENGTHS, fit_intercept=False, cv=parts, scoring="neg_mean_squared_error"
    )
    fitted.fit((x - mean_x) * scale, y - mean_y)
    weights = scale[:, None] * fitted.coef_.reshape(len(mean_y), -1).T
    return lambda rows: (rows - mean_x) @ weights + mean_y


def unexplained(
    x: Float[np.ndarray, "n e"],
    y: Float[np.ndarray, "n d"],
    fitted: Bool[np.ndarray, " n"],
    groups: Integer[np.ndarray, " n"],
) -> float | None:
    """Share of the rows' variance that the best affine map leaves unexplained: 1 - R^2.

    ``linear_map`` is fitted on some rows; of the others it is the squared distance of y
    from what the map makes of x, relative to that from the mean of the fitted ones: 0
    where nothing is left, 1 where the map says no more than that mean. None where the
    others do not differ from it.

    Args:
        x: Finite.
        y: Finite, of the same images.
        fitted: The rows for the map, at least 2.
        groups: What a row shows.
    """
    check(x, y)
    rest = ~fitted
    apply = linear_map(x[fitted], y[fitted], groups[fitted])
    own = y[rest].astype(np.float64)
    spread = np.square(own - y[fitted].mean(0, dtype=np.float64)).sum()
    left = np.square(own - apply(x[rest])).sum()
    return float(left / spread) if spread > 0 else None


def orthogonal_map(x: Float[np.ndarray, "n e"], y: Float[np.ndarray, "n d"]) -> Map:
    """The best rotation or reflection of x onto y, with one common scale and a shift.

    The narrower side is padded with zeros; where x is the wider, what is turned onto
    the padding is dropped (a projection), and the scale is for what is left. The scale
    is 0, the answer the mean of y, where x is constant.

    Args:
        x: Finite.
        y: Finite, of the same images.

    Source: Schoenemann 1966; ``scipy.linalg.orthogonal_procrustes``.
    """
    from scipy.linalg import orthogonal_procrustes

    check(x, y)
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    width = max(x.shape[1], y.shape[1])
    target = y - mean_y
    rotation, _ = orthogonal_procrustes(_pad(x - mean_x, width), _pad(target, width))
    rotation = rotation[: x.shape[1], : y.shape[1]]
    turned = (x - mean_x) @ rotation
    power = np.square(turned).sum() if varying(x).any() else 0.0
    scale = (turned * target).sum() / power if power > 0 else 0.0
    return lambda rows: scale * ((rows - mean_x) @ rotation) + mean_y


def agreement(p: Integer[np.ndarray, " m"], q: Integer[np.ndarray, " m"]) -> float:
    """Share of images that two probes predict the same class for, in [0, 1]."""
    refuse_if(
        len(p) != len(q) or not len(p),
        f"agreement: {len(p)} and {len(q)} predictions, not of one set",
    )
    return float((p == q).mean())


def fidelity(
    victim: Float[np.ndarray, "n d"],
    other: Float[np.ndarray, "n e"],
    untrained: Float[np.ndarray, "n f"] | None,
    *,
    groups: Integer[np.ndarray, " n"],
    predictions: tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, " n"]],
    fit_fraction: float,
    k: int,
    rows: int,
    seed: int,
) -> dict[str, float | int | None]:
    """Every measure of an encoder against a victim, on images neither was trained on.

    Maps are fitted on one part of the images, and everything but ``agreement`` is
    measured on the rest, so that direct and mapped figures are of the same images.

    Args:
        victim: Features of held-out images.
        other: Features of the encoder to be judged.
        untrained: Features of an untrained encoder, the zero of ``information``; None
            where there is none, and no such figure.
        groups: What a row shows; rows of the same value are never divided.
        predictions: The victim's probe's and the other's, of the same images.
        fit_fraction: Part of the groups that the maps are fitted on, between 0 and 1.
        k: Neighbours of ``neighbour_overlap``; fewer where there are no more images.
        rows: Images at most, one of each group, for what costs n^2 (neighbours and
            information), drawn by ``seed``.
        seed: Of the part and of the draw.

    Returns:
        ``cosine``, ``l2`` (None where widths differ), ``linear_cosine``, ``linear_l2``,
        ``orthogonal_cosine``, ``orthogonal_l2``, ``cka``, ``neighbours``,
        ``information``, ``agreement`` and, for the reading of the cosines,
        ``cosine_of_mean``: that of the victim's features with their mean. Counts of
        images: ``n_fitted``, ``n_judged``, ``n_compared`` (of what costs n^2).
        None or 0 where an encoder is collapsed, as each function says.

    Raises:
        UserError: Features are not finite or of different images, or the fraction
            leaves fewer than 2 images on a side.
    """
    check(victim, other, *([] if untrained is None else [untrained]))
    fitted = _part(groups, fit_fraction, seed)
    judged = ~fitted
    own, direct = victim[judged], other[judged]
    few = _draw(groups, judged, rows, seed)
    same = victim.shape[1] == other.shape[1]
    result: dict[str, float | int | None] = {
        "cosine": cosine(own, direct) if same else None,
        "l2": distance(own, direct) if same else None,
    }
    maps = {
        "linear": linear_map(other[fitted], victim[fitted], groups[fitted]),
        "orthogonal": orthogonal_map(other[fitted], victim[fitted]),
    }
    for name, apply in maps.items():
        mapped = apply(direct)
        result[f"{name}_cosine"] = cosine(own, mapped)
        result[f"{name}_l2"] = distance(own, mapped)
    mean = victim[fitted].mean(0, dtype=np.float64)
    return result | {
        "cka": cka(own, direct),
        "neighbours": neighbour_overlap(
            victim[few], other[few], k=min(k, len(few) - 1), groups=groups[few]
        ),
        "information": None
        if untrained is None
        else information(victim[few], other[few], untrained[few]),
        "agreement": agreement(*predictions),
        "cosine_of_mean": cosine(own, np.tile(mean, (len(own), 1))),
        "n_fitted": int(fitted.sum()),
        "n_judged": int(judged.sum()),
        "n_compared": len(few),
    }


def _part(
    groups: Integer[np.ndarray, " n"], fraction: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Which rows the maps are fitted on."""
    units, unit_of_row = np.unique(groups, return_inverse=True)
    chosen = np.zeros(len(units), bool)
    order = np.random.default_rng(seed).permutation(len(units))
    chosen[order[: round(max(0, fraction) * len(units))]] = True
    fitted = chosen[unit_of_row]
    refuse_if(
        min(fitted.sum(), (~fitted).sum()) < 2,
        f"fidelity: fit_fraction={fraction} of {len(groups)} images leaves fewer "
        "than 2 to fit the maps or to judge them",
    )
    return fitted


def _draw(
    groups: Integer[np.ndarray, " n"],
    judged: Bool[np.ndarray, " n"],
    rows: int,
    seed: int,
) -> Integer[np.ndarray, " m"]:
    """At most ``rows`` of the judged rows, the first of each group, in order."""
    places = np.flatnonzero(judged)
    firsts = np.sort(places[np.unique(groups[places], return_index=True)[1]])
    rng = np.random.default_rng([seed, 1])  # not the numbers that drew the part
    return np.sort(rng.permutation(firsts)[:rows])


def _pad(x: Float[np.ndarray, "n d"], width: int) -> Float[np.ndarray, "n e"]:
    return np.pad(x, ((0, 0), (0, width - x.shape[1])))
