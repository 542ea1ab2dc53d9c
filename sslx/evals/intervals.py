"""Intervals of figures and tests between them, of one run and across seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

Values = Sequence[float] | Float[np.ndarray, " n"]  # one number for each seed


class Paired(NamedTuple):
    """Two attacks on the same victims and seeds, one against the other.

    Attributes:
        difference: Mean of first minus second.
        low: Lower end of its t interval; None for a single pair.
        high: Upper end; None for a single pair.
        p: Of the two-sided paired t test; None for a single pair, and where all
            differences are the same and not 0: they have no spread to be judged by.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def wilson(
    successes: int | float, n: int, *, confidence: float, effective: float | None = None
) -> tuple[float, float]:
    """Wilson score interval of a proportion, without continuity correction.

    It covers what the choice of the n test images varies, and nothing else: not the
    seed of the encoder, not the images that were asked.

    Args:
        successes: Images that were right, 0 to n; a fraction for a weighted share.
        n: Images tested, 1 or more.
        confidence: Between 0 and 1, for example 0.95.
        effective: How many independent images they are worth, as ``effective_size``
            says; None: n.

    Returns:
        (low, high) with 0 <= low <= successes / n <= high <= 1.

    Raises:
        ValueError: An argument is out of its range.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference"; with an effective n, Korn and Graubard 1998.
    """
    from scipy.special import ndtri

    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is no proportion")
    share, m = successes / n, n if effective is None else effective
    z = float(ndtri((1 + confidence) / 2))
    middle = (share + z * z / (2 * m)) / (1 + z * z / m)
    half = z / (1 + z * z / m) * math.sqrt(share * (1 - share) / m + (z / m) ** 2 / 4)
    # At 0 and 1 the ends are those exactly, which rounding would miss.
    return (
        max(0.0, middle - half) if successes else 0.0,
        min(1.0, middle + half) if successes < n else 1.0,
    )


def effective_size(
    right: Bool[np.ndarray, " n"], groups: Integer[np.ndarray, " n"]
) -> float:
    """How many independent images a test of n is worth, of which some show the same.

    Views of one picture are right and wrong together: n over the design effect, the
    variance of the share between pictures over that of independent images. Where all
    are right or all wrong nothing can be estimated, and each picture counts once.

    Args:
        right: Whether each image was right.
        groups: What it shows; the same value for the same picture.

    Returns:
        From about the number of pictures to n; n where no two show the same.

    Source: Kish 1965, "Survey sampling"; variance of a ratio of cluster totals.
    """
    _, unit = np.unique(groups, return_inverse=True)
    sizes, hits = np.bincount(unit), np.bincount(unit, weights=right)
    n, m, share = len(right), len(sizes), float(right.mean())
    if m == n:
        return float(n)
    if share in (0, 1) or m == 1:
        return float(m)
    between = m / (m - 1) * np.square(hits - share * sizes).sum() / n**2
    return n / max(1.0, between / (share * (1 - share) / n))


def t_interval(values: Values, *, confidence: float) -> tuple[float, float] | None:
    """Student's t interval of the mean of one value a seed.

    It covers what the seeds varied (the stealer's, the victim's) and nothing that they
    shared. It holds what it states for normal values, from 3 on in docs/evaluation.md;
    with 2 it is some 13 times as wide as their spread.

    Args:
        values: One number for each seed.
        confidence: Between 0 and 1.

    Returns:
        (low, high) around the mean; both the mean where all values are equal; None for
        a single value, which says nothing of spread.

    Raises:
        ValueError: No value, or one that is not finite.

    Source: Student 1908, as in scipy.stats.
    """
    from scipy.stats import t  # seconds, as above

    sample = np.asarray(values, np.float64)
    if not len(sample) or not np.isfinite(sample).all():
        raise ValueError(f"no mean of {values}")
    if len(sample) == 1:
        return None
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    half = t.ppf((1 + confidence) / 2, len(sample) - 1) * error
    return float(sample.mean() - half), float(sample.mean() + half)


def paired(first: Values, second: Values, *, confidence: float) -> Paired:
    """Compares two attacks by the pairs of figures that share victim and seed.

    Args:
        first: One number for each pair.
        second: The other's, in the same order.
        confidence: Of the interval, between 0 and 1.

    Raises:
        ValueError: No pair, or numbers of other counts or not finite.

    Source: Student 1908; ``scipy.stats.ttest_rel``.
    """
    from scipy.stats import ttest_rel

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs")
    one, two = (np.asarray(values, np.float64) for values in (first, second))
    difference = one - two
    interval = t_interval(difference, confidence=confidence)
    mean = float(difference.mean())
    if interval is None:
        return Paired(mean, None, None, None)
    size = max(np.abs(one).max(), np.abs(two).max())
    if np.ptp(difference) <= 1e-12 * size:  # rounding of equal differences
        same = np.abs(difference).max() <= 1e-12 * size
        return Paired(mean, mean, mean, 1.0 if same else None)
    return Paired(mean, *interval, float(ttest_rel(one, two).pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusts the p values of a family of tests, so that any error at all is rare.

    Rejecting where the adjusted value is at most a keeps the chance of one or more
    false rejections within a, however the tests depend on each other. A None, of a test
    that could not be made, stays one and does not count.

    Args:
        p_values: Between 0 and 1, in any order.

    Returns:
        The adjusted values, in the same order; at least the given ones, at most 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    made = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for place, (p, i) in enumerate(made):
        least = max(least, min(1.0, (len(made) - place) * p))
        adjusted[i] = least
    return adjusted
