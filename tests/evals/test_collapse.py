import numpy as np
import pytest

from sslx.evals.collapse import alignment, effective_rank, feature_std, uniformity

EVEN = np.concatenate([np.eye(4), -np.eye(4)])
ONE_WAY = np.outer([1.0, 2.0, 5.0], [3.0, 4.0])


def test_feature_std():
    # Catches rows that are not normalised, a variance, a spread over the wrong axis.
    assert feature_std(EVEN) == pytest.approx(1 / 2)  # 1 / sqrt(d), d = 4
    assert feature_std(EVEN * np.arange(1, 9)[:, None]) == pytest.approx(1 / 2)
    assert feature_std(ONE_WAY) == pytest.approx(0, abs=1e-12)
    many = np.random.default_rng(0).normal(size=(4000, 64))
    assert feature_std(many) == pytest.approx(1 / 8, rel=0.01)
    assert feature_std(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.5)


def test_effective_rank():
    # Catches squared singular values, another logarithm, the entropy itself.
    assert effective_rank(EVEN) == pytest.approx(4)
    assert effective_rank(ONE_WAY) == pytest.approx(1)
    p = np.array([3.0, 1.0]) / 4
    expected = np.prod(p**-p)
    assert effective_rank(np.diag([3.0, 1.0, 0.0])) == pytest.approx(expected)
    assert effective_rank(np.diag([30.0, 10.0])) == pytest.approx(expected)
    assert effective_rank(np.zeros((3, 2))) == 0


def test_alignment():
    # Catches a distance that is not squared, rows that are not normalised.
    assert alignment(EVEN, 3 * EVEN) == pytest.approx(0)
    assert alignment(EVEN, -EVEN) == pytest.approx(4)
    assert alignment(np.eye(2), np.eye(2)[::-1]) == pytest.approx(2)
    half = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert alignment(np.eye(2), half[[0, 0]]) == pytest.approx(1)


def test_uniformity():
    # Catches pairs of a row with itself, a sum for a mean, t = 1.
    assert uniformity(np.array([[2.0, 0.0], [0.0, 1.0]])) == pytest.approx(-4)
    assert uniformity(np.array([[2.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8)
    assert uniformity(ONE_WAY) == pytest.approx(0)
    # Three pairs: two at a right angle, one opposite.
    three = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    expected = np.log((2 * np.exp(-4) + np.exp(-8)) / 3)
    assert uniformity(three) == pytest.approx(expected)
    with pytest.raises(ValueError, match="only one"):
        uniformity(three[:1])
