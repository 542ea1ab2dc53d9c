"""Intervals for one run's figures."""


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
