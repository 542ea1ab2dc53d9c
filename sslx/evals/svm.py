"""A kernel machine on raw pixels: what small images say without any encoder."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer
from sklearn.svm import SVC

from sslx.evals.linear import validation_part
from sslx.types import refuse_if

ROWS, PIXELS = 10_000, 1_024  # at most: its time grows with rows squared
PENALTIES = (1.0, 10.0, 100.0)


class Machine(NamedTuple):
    """What it predicts, and how it was chosen.

    Attributes:
        predictions: Class of each test row, int64.
        penalty: C, of ``PENALTIES``.
        at_edge: It is the least or the largest, so a better one may lie outside.
        undecided: All penalties were right equally often; it is the least.
    """

    predictions: Integer[np.ndarray, " m"]
    penalty: float
    at_edge: bool
    undecided: bool


def is_small(images: int, pixels: int) -> bool:
    """Whether there are so few rows and pixels that it is trained."""
    return images <= ROWS and pixels <= PIXELS


def kernel_svm(
    train: Float32[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    test: Float32[np.ndarray, "m d"],
    *,
    validation_fraction: float,
    seed: int,
    groups: Integer[np.ndarray, " n"],
) -> Machine:
    """A support vector machine with Gaussian kernel, one class against another.

    The kernel's width is one over (d times the variance of all training values); the
    penalty is chosen on the same part of the training rows as the linear probe's
    strength, and the machine then fitted to all.

    Args:
        train: Pixels in [0, 1], a row an image.
        labels: Their classes, two or more.
        test: As ``train``.
        validation_fraction: Part of the pictures that chooses the penalty.
        seed: Of the part.
        groups: Rows of one value show one picture and are not divided.

    Raises:
        UserError: Too few rows to choose on, or of a single class without these.

    Source: Cortes and Vapnik 1995, by scikit-learn.
    """
    held = validation_part(len(labels), validation_fraction, seed, groups)
    refuse_if(
        np.ptp(labels[~held]) == 0,
        f"SVM: the training images are all of class {labels[~held][0]}, but for what "
        "probe.validation holds out; add images of others",
    )
    right = {}
    for penalty in PENALTIES:
        machine = SVC(C=penalty).fit(train[~held], labels[~held])
        right[penalty] = float((machine.predict(train[held]) == labels[held]).mean())
    best = max(right, key=right.__getitem__)  # ties: the least
    found = SVC(C=best).fit(train, labels).predict(test)
    ends = (PENALTIES[0], PENALTIES[-1])
    undecided = len(set(right.values())) == 1
    return Machine(found.astype(np.int64), best, best in ends, undecided)
