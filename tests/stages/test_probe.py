"""What is kept of how a probe was solved."""

import numpy as np
import pytest

from sslx.evals.linear import few, probe
from sslx.stages.probe import _notes

CLASSES = 4


def one_each():
    """A probe on one picture of each class."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % CLASSES
    features = random.normal(size=(40, 6)).astype(np.float32)
    rows = few(labels, 0.0, 0)
    return probe(
        *(features[rows], labels[rows], features[:9]),
        classes=CLASSES,
        l2_grid=(1e-4, 1e-2, 1.0),
        validation_fraction=0.2,
        tolerance=1e-5,
        max_iterations=500,
        seed=0,
        cross_validated=True,
    )


@pytest.mark.parametrize(
    "changes, edge, undecided",
    [
        ({}, True, True),
        ({"validation_accuracy": {1.0: 0.2, 1e-2: 0.2, 1e-4: 0.3}}, True, False),
        (
            {"validation_accuracy": {1.0: 0.2, 1e-2: 0.4}, "at_edge": False},
            False,
            False,
        ),
        ({"validation_accuracy": {1.0: 0.2}}, True, True),  # a grid of one value
    ],
)
def test_whether_a_strength_was_chosen(changes, edge, undecided):
    # Catches a strength that nothing chose and that is said to be chosen, and one at
    # the end of its grid that is said to have had no choice.
    found = _notes(one_each()._replace(**changes))
    assert (found["l2_at_edge"], found["l2_undecided"]) == (edge, undecided)
