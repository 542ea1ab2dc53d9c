"""The probe with few labels: which rows it gets, and how it chooses with them."""

import numpy as np
import pytest

import sslx.evals.linear as module
from sslx.evals.linear import few
from sslx.types import UserError
from tests.evals.test_linear import GRID, blobs, run


def test_few_takes_a_share_of_each_class():
    # Catches: a draw over all rows (a rare class without any), rows for pictures, views
    # divided, a seed without effect.
    labels = np.repeat([0, 1, 3], [400, 100, 20]).repeat(2)
    groups = np.arange(520).repeat(2)[::-1] * 5
    mixed = np.random.default_rng(0).permutation(1040)
    labels, groups = labels[mixed], groups[mixed]
    rows = few(labels, 0.01, 0, groups)
    assert np.bincount(labels[rows]).tolist() == [8, 2, 0, 2]
    assert (np.unique(groups[rows], return_counts=True)[1] == 2).all()
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, few(labels, 0.01, 0, groups))
    assert set(rows) != set(few(labels, 0.01, 1, groups))
    more = few(labels, 0.1, 0, groups)
    assert set(rows) < set(more) and len(more) == 2 * (40 + 10 + 2)
    assert len(few(labels, 0.1, 0)) == 80 + 20 + 4
    assert len(few(labels, 1.0, 0, groups)) == 1040
    one = few(labels, 0.0, 0, groups)
    assert np.bincount(labels[one]).tolist() == [2, 2, 0, 2] and set(one) < set(rows)
    for share in (-0.1, 1.1):
        with pytest.raises(UserError, match="must be between 0 and 1"):
            few(labels, share, 0)


def test_parts_hold_each_picture_once():
    # Catches: a row never or twice held out, views divided, all of a class in one part.
    labels = np.arange(60).repeat(2) % 3
    groups = np.random.default_rng(0).permutation(60).repeat(2)
    parts = module._parts(labels, 0.2, 0, groups)
    assert len(parts) == 5 and (np.sum(parts, 0) == 1).all()
    for held in parts:
        assert not set(groups[held]) & set(groups[~held])
        assert np.bincount(labels[held]).tolist() == [8, 8, 8]
    assert (parts[0] != module._parts(labels, 0.2, 1, groups)[0]).any()
    assert len(module._parts(np.arange(3), 0.2, 0, None)) == 3
    with pytest.raises(UserError, match="at most 0.5"):
        module._parts(labels, 0.6, 0, groups)


@pytest.mark.parametrize("share, each", [(0.005, 1), (0.01, 1), (0.1, 8)])
def test_probe_of_few_labels(share, each):
    # Catches: an error where a class has one picture; validation on what was fitted.
    # The data sets are easy, so that a sound choice is right for nearly all.
    rng = np.random.default_rng(5)
    centres = 8 * rng.standard_normal((4, 30))
    labels = np.arange(320) % 4
    features = centres[labels] + rng.standard_normal((320, 30))
    rows = few(labels, share, 0)
    assert len(rows) == 4 * each
    ours = run(features[rows], labels[rows], features, cross_validated=True)
    assert ours.converged and np.mean(ours.predictions == labels) > 0.9
    if each == 1:  # held out, a class is unknown: nothing to choose by
        assert set(ours.validation_accuracy.values()) == {0} and ours.l2 == max(GRID)
    else:
        assert max(ours.validation_accuracy.values()) > 0.9


def test_cross_validation_counts_all_parts():
    # Catches: the last part's accuracy in place of all, or a part counted in full where
    # one class is left. Two classes, the second of one picture.
    features, labels = blobs(41, 3, 4, distance=200.0)
    labels = (np.arange(41) == 7).astype(int)
    features = features + 500 * labels[:, None]
    ours = run(features, labels, features, classes=2, cross_validated=True)
    assert set(ours.validation_accuracy.values()) == {30 / 41}
