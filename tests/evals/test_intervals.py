"""Intervals and tests: numbers worked out by hand, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.coverage import (
    paired_figures,
    t_coverage,
    views_coverage,
    wilson_coverage,
)
from sslx.evals.intervals import effective_size, holm, paired, t_interval, wilson


def closed_form(successes, n, z):
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) * z / (1 + z * z / n)
    return centre - half, centre + half


@pytest.mark.parametrize("successes, n", [(7, 10), (360, 400), (1, 3), (9123, 10000)])
@pytest.mark.parametrize(
    "confidence, z", [(0.95, 1.959963984540054), (0.99, 2.5758293035489)]
)
def test_closed_form(successes, n, confidence, z):
    # Catches: another interval (normal, exact, continuity-corrected), one-sided z.
    assert wilson(successes, n, confidence=confidence) == pytest.approx(
        closed_form(successes, n, z), abs=1e-12
    )


def test_none_and_all_right():
    # Catches: the normal interval's width of zero at 0 and n, or ends beyond 0 and 1.
    z2 = 1.959963984540054**2
    assert wilson(0, 20, confidence=0.95) == pytest.approx((0, z2 / (20 + z2)))
    assert wilson(20, 20, confidence=0.95) == pytest.approx((20 / (20 + z2), 1))


@pytest.mark.parametrize("successes, n", [(5, 4), (-1, 4), (0, 0)])
def test_impossible_counts(successes, n):
    # Catches: an accuracy above 1 or over no image getting an interval all the same.
    with pytest.raises(ValueError):
        wilson(successes, n, confidence=0.95)


def test_t_interval_by_hand():
    # Catches: the normal quantile, n - 1 for n or the reverse, a deviation over n.
    # Mean 4, deviation 2, quantile 4.302653 of 2 degrees of freedom (tables).
    half = 4.302653 * 2 / math.sqrt(3)
    assert t_interval([2.0, 4.0, 6.0], confidence=0.95) == pytest.approx(
        (4 - half, 4 + half), rel=1e-6
    )
    low, high = t_interval([0.0, 1.0], confidence=0.9)  # quantile 6.313752
    assert (high - low) / 2 == pytest.approx(6.313752 * math.sqrt(0.5) / math.sqrt(2))


def test_t_interval_without_spread():
    # Catches: NaN or a warning where seeds agree; an interval from a single seed.
    assert t_interval([0.7], confidence=0.95) is None
    assert t_interval([0.1 + 0.2, 0.3, 0.3], confidence=0.95) == pytest.approx(
        (0.3, 0.3), abs=1e-15
    )
    assert t_interval([0.0, 0.0], confidence=0.95) == (0, 0)
    for wrong in ([], [0.1, math.nan]):
        with pytest.raises(ValueError):
            t_interval(wrong, confidence=0.95)


def test_paired_by_hand():
    # Catches: the unpaired test, the sign of the difference, one-sided p.
    first, second = [0.50, 0.70, 0.90], [0.49, 0.68, 0.87]
    ours = paired(first, second, confidence=0.95)
    # Differences 0.01, 0.02, 0.03: t = 0.02 / (0.01 / sqrt 3) = 3.4641 of 2 degrees,
    # p = 1 - t / sqrt(t^2 + 2).
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert ours.difference == pytest.approx(0.02)
    assert (ours.low, ours.high) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-5)
    assert ours.p == pytest.approx(1 - math.sqrt(12 / 14))
    other = paired(second, first, confidence=0.95)
    assert (other.difference, other.p) == pytest.approx((-0.02, ours.p))


def test_paired_without_spread():
    # Catches: p = 0 or NaN from two seeds that happen to differ equally.
    assert paired([0.5], [0.4], confidence=0.95) == (
        pytest.approx(0.1),
        None,
        None,
        None,
    )
    same = paired([0.5, 0.7], [0.5, 0.7], confidence=0.95)
    assert same == (0, 0, 0, 1)
    equal = paired([0.5, 0.7, 0.3], [0.4, 0.6, 0.2], confidence=0.95)
    assert equal == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1), None)
    with pytest.raises(ValueError, match="no pairs"):
        paired([0.5], [0.4, 0.3], confidence=0.95)


def test_holm_by_hand():
    # Catches: Bonferroni (all times 4), no running maximum, order of input lost.
    assert holm([0.03, 0.01, 0.02, 0.04]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    # A test that could not be made does not count.
    assert holm([None, 0.02, 0.03]) == [None, pytest.approx(0.04), pytest.approx(0.04)]
    assert holm([]) == []


def test_views_of_one_picture_count_as_less():
    # Catches three placements of a digit taken for three independent images, and
    # pictures that are taken for less than they tell.
    right = np.array([1, 0, 1, 1, 0, 1], bool)
    assert effective_size(right, np.arange(6)) == 6
    # All three views alike: two of three pictures are right. Between pictures, 3 / 2 *
    # (4 + 1 + 1) / 81 = 1 / 9; of 9 independent images, 2 / 81.
    thrice = np.repeat([True, True, False], 3)
    assert effective_size(thrice, np.repeat(np.arange(3), 3)) == pytest.approx(2)
    assert effective_size(np.ones(6, bool), np.repeat(np.arange(2), 3)) == 2
    low, high = wilson(6, 9, confidence=0.95, effective=3.0)
    assert (low, high) == pytest.approx(wilson(2, 3, confidence=0.95))


def test_coverage_of_views():
    # Catches an interval that takes views for images: it must miss, and the other hold.
    assert 0.93 <= views_coverage(0.9, 450, 600) <= 0.97
    assert views_coverage(0.9, 450, 600, clustered=False) < 0.87


def normal_interval(values, confidence):
    half = norm.ppf((1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def wald_interval(right, n, confidence):
    p = right / n
    half = norm.ppf((1 + confidence) / 2) * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def test_t_holds_what_it_states():
    # Catches: the normal quantile, which holds the mean of 3 seeds in some 80 %; a
    # simulation that could not tell. 1,000 repeats scatter by 0.7 points.
    assert 0.93 <= t_coverage("normal", 3, 1000) <= 0.97
    assert t_coverage("normal", 3, 1000, normal_interval) < 0.85


def test_wilson_holds_what_it_states():
    # Catches: the textbook interval, whose width goes to 0 near 0 and 1: at 0.01 of 100
    # images, beside the stated domain, it holds the truth in some 63 %, Wilson's in 90.
    for accuracy in (0.05, 0.5, 0.95):
        assert 0.93 <= wilson_coverage(accuracy, 400, 2000) <= 0.97
    assert wilson_coverage(0.01, 100, 2000) > 0.87
    assert wilson_coverage(0.01, 100, 2000, wald_interval) < 0.75


def test_no_more_false_alarms_than_stated():
    # Catches: alarms of single tests passed on as of a family (some 15 % here); a test
    # that takes what the pairs share for noise and never alarms.
    covered, alarms, families = paired_figures(5, 500, tests=5)
    assert 0.925 <= covered <= 0.975 and alarms == pytest.approx(1 - covered)
    assert 0.01 < families < 0.08
