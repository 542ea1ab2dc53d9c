"""Intervals of figures, of one run and over seeds, and paired comparisons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Paired(NamedTuple):
    """A mean difference of pairs, its interval, and the p-value of "no difference"."""

    difference: float
    low: float
    high: float
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


def t_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean of values from independent seeds.

    Args:
        values: 2 or more.
        confidence: Between 0 and 1.

    Raises:
        ValueError: Fewer than 2 values.
    """
    from scipy.stats import t

    if len(values) < 2:
        raise ValueError("a t interval needs 2 values or more")
    mean, n = float(np.mean(values)), len(values)
    half = float(t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / n**0.5)
    return mean - half, mean + half


def paired(a: Sequence[float], b: Sequence[float], *, confidence: float) -> Paired:
    """Paired t test of a against b, two-sided.

    Differences that are all the same have no spread to test against: p is then 1 for
    no difference, else 0.

    Args:
        a: 2 values or more.
        b: As many, in the same order of seeds.
        confidence: Of the interval of the mean of a - b.

    Raises:
        ValueError: Fewer than 2 values, or not as many of each.
    """
    from scipy.stats import t

    if len(a) != len(b):
        raise ValueError("not as many of each")
    differences = np.subtract(a, b)
    low, high = t_interval(differences.tolist(), confidence=confidence)
    mean, n = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / n**0.5
    if error == 0:
        return Paired(mean, low, high, float(mean == 0))
    return Paired(mean, low, high, float(2 * t.sf(abs(mean) / error, n - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values of one family, in their order.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    n, highest = len(p_values), 0.0
    out = [0.0] * n
    for rank, i in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (n - rank) * p_values[i]))
        out[i] = highest
    return out
