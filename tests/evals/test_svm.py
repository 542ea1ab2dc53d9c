"""The kernel machine on pixels."""

import numpy as np
import pytest

from sslx.evals.svm import PENALTIES, kernel_svm
from sslx.types import UserError


def rings(n, noise, seed=0):
    """Two classes that no line divides: the inside of a ring, and the ring."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    angle, radius = random.uniform(0, 2 * np.pi, n), 1 + 2 * labels
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (x + noise * random.normal(size=x.shape)).astype(np.float32), labels


def solved(x, labels, test=None, groups=None, fraction=0.25):
    n = len(labels)
    groups = np.arange(n) if groups is None else groups
    test = x if test is None else test
    more = {"validation_fraction": fraction, "seed": 0, "groups": groups}
    return kernel_svm(x, labels, test, **more)


@pytest.mark.parametrize("noise, undecided", [(0.05, True), (0.1, True), (0.9, False)])
def test_what_was_chosen_by(noise, undecided):
    # Catches a machine that is linear, and a tie of all penalties for a choice of the
    # least.
    x, labels = rings(120, noise)
    found = solved(x, labels)
    assert found.undecided is undecided
    assert found.penalty in PENALTIES
    if undecided:
        assert found.penalty == PENALTIES[0] and found.at_edge
        assert (found.predictions == labels).all()
    assert found.predictions.dtype == np.int64


@pytest.mark.parametrize(
    "labels, groups",
    [
        ([3] * 8, None),
        ([0] * 6 + [1] * 2, [0, 1, 2, 3, 4, 5, 6, 6]),
        ([2] * 6 + [7] * 2, [0, 1, 2, 3, 4, 5, 6, 6]),
    ],
)
def test_a_single_class(labels, groups):
    # Catches an error of the library, with its traceback, where what is held out takes
    # the last picture of the other class.
    labels = np.array(labels)
    x = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    groups = None if groups is None else np.array(groups)
    with pytest.raises(UserError, match=f"all of class {labels[0]}, but") as error:
        for fraction in (0.3, 0.45, 0.6, 0.75):  # some of these hold the last two
            solved(x, labels, groups=groups, fraction=fraction)
    assert "\n" not in str(error.value)
