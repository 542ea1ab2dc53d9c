import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from sslx.evals.uneven import balanced_accuracy, is_uneven, majority


@pytest.mark.parametrize(
    "sizes, uneven",
    [([10, 10], False), ([14, 10], False), ([31, 10], True), ([19, 10, 8], True)],
)
def test_when_classes_are_uneven(sizes, uneven):
    # Catches a limit taken of the sum, or of the smallest class.
    labels = np.random.default_rng(0).permutation(
        np.repeat(np.arange(len(sizes)), sizes)
    )
    assert is_uneven(labels) is uneven


def test_majority_is_the_least_of_several():
    # Catches the first in the order of the rows, and the last.
    assert majority(np.array([4, 2, 2, 4, 0])) == 2


def test_balanced_accuracy():
    # Catches a mean over images, classes that are absent, and more images than there
    # are.
    random = np.random.default_rng(1)
    labels = random.choice([0, 3, 7], 500, p=[0.8, 0.15, 0.05])
    predicted = np.where(random.random(500) < 0.6, labels, 0)
    accuracy, worth = balanced_accuracy(predicted == labels, labels)
    assert accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    # Were only the smallest class not known to the last, 9 times its images.
    assert (labels == 7).sum() < worth < 9 * (labels == 7).sum()
    even = np.repeat([0, 1], 200)
    _, worth = balanced_accuracy(random.random(400) < 0.5, even)
    assert 390 <= worth <= 400


def test_all_right_is_not_sure():
    # Catches an interval without width where each class is all right or all wrong.
    labels = np.array([0] * 50 + [1] * 5)
    accuracy, worth = balanced_accuracy(labels == 0, labels)
    assert accuracy == 0.5 and worth < 55
