"""Intervals of figures and tests between them, of one run and across seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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


class Discordant(NamedTuple):
    """Where two predictions of the same test images differ in being right.

    Attributes:
        only_first: Images that only the first has right.
        only_second: Images that only the second has right.
        p: Exact, two-sided; 1 where they differ nowhere.
    """

    only_first: int
    only_second: int
    p: float


def wilson(successes: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Wilson score interval of a proportion, without continuity correction.

    It covers what the choice of the n test images varies, and nothing else: not the
    seed of the encoder, not the images that were asked.

    Args:
        successes: Images that were right, 0 to n.
        n: Images tested, 1 or more.
        confidence: Between 0 and 1, for example 0.95.

    Returns:
        (low, high) with 0 <= low <= successes / n <= high <= 1.

    Raises:
        ValueError: An argument is out of its range.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", as in scipy.stats.
    """
    from scipy.stats import binomtest  # two seconds, which only a probe needs to pay

    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is no proportion")
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def t_interval(values: Values, *, confidence: float) -> tuple[float, float] | None:
    """Student's t interval of the mean of one value a seed.

    It covers what the seeds varied (the stealer's, the victim's) and nothing that they
    shared. It holds what it states for values that are near normal, from 2 on; with 2
    it is some 13 times as wide as their spread.

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


def mcnemar(
    first_right: Bool[np.ndarray, " m"], second_right: Bool[np.ndarray, " m"]
) -> Discordant:
    """Whether two classifiers differ on the same test images, by the exact test.

    It covers the choice of the test images, as ``wilson`` does, and no seed. Images
    that both or neither have right say nothing; of the others, half are expected to be
    the first's.

    Raises:
        ValueError: Not of the same number of images.

    Source: McNemar 1947, with the binomial distribution in place of the normal.
    """
    from scipy.stats import binomtest

    if len(first_right) != len(second_right):
        raise ValueError(f"{len(first_right)} and {len(second_right)} images differ")
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    differ = only_first + only_second
    p = float(binomtest(only_first, differ).pvalue) if differ else 1.0
    return Discordant(only_first, only_second, p)
