"""Maps of features."""

import numpy as np
import pytest

from sslx.evals.maps import plane, turn_onto
from sslx.types import UserError


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_groups_stay_together():
    # Catches a map that heeds the length of a row, or that differs each time.
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = 5 * np.eye(3, 20)[labels] + random.standard_normal((60, 20)) / 5
    points = plane(rows, seed=0)
    assert points.shape == (60, 2)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-6)
    apart = distances(points) + 1e9 * np.eye(60)
    assert (labels[apart.argmin(1)] == labels).all()
    # Powers of two, so that not a bit of the directions changes.
    lengths = 2.0 ** random.integers(-8, 8, (60, 1))
    assert plane(rows * lengths, seed=0).tobytes() == points.tobytes()


def test_few_and_equal_rows():
    # Catches a collapsed encoder, or a tiny set, that ends the report with NaN.
    assert not plane(np.ones((9, 5), np.float32), seed=0).any()
    assert not plane(np.zeros((9, 5), np.float32), seed=0).any()
    thin = np.array([[1, 0], [1, 1], [1, 2], [1, 3]], np.float32)
    assert np.isfinite(plane(thin, seed=0)).all()
    for bad in (thin[:3], thin + np.inf):
        with pytest.raises(UserError, match="4 rows"):
            plane(bad, seed=0)


def test_turned_and_mirrored_only():
    # Catches a transposed rotation, a mirror that is not allowed, a map that is
    # stretched to look like the other.
    target = np.random.default_rng(1).standard_normal((30, 2))
    target -= target.mean(0)
    turn = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])
    for change in (turn, turn @ np.diag([1, -1])):
        np.testing.assert_allclose(turn_onto(target @ change, target), target)
        twice = turn_onto(2 * target @ change, target)
        np.testing.assert_allclose(distances(twice), 2 * distances(target))
