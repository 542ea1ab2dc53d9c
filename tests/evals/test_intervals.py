"""Wilson intervals."""

import math

import pytest

from sslx.evals.intervals import wilson


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
