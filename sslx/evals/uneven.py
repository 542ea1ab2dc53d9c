"""Test sets whose classes are not alike in size, where plain accuracy flatters."""

import numpy as np
from jaxtyping import Bool, Integer

# Times the share that each class would have if all were alike.
UNEVEN = 1.5


def is_uneven(labels: Integer[np.ndarray, " n"]) -> bool:
    """Whether the largest class is half as large again as classes are on average."""
    sizes = np.unique(labels, return_counts=True)[1]
    return bool(sizes.max() > UNEVEN * sizes.mean())


def majority(labels: Integer[np.ndarray, " n"]) -> int:
    """The most frequent class, the least of several."""
    classes, sizes = np.unique(labels, return_counts=True)
    return int(classes[sizes.argmax()])


def balanced_accuracy(
    right: Bool[np.ndarray, " n"], labels: Integer[np.ndarray, " n"]
) -> tuple[float, float]:
    """The mean of the accuracies on each class, and how many images it is worth.

    Args:
        right: Whether each image was right.
        labels: Its class.

    Returns:
        (accuracy, images): of so many images, at most n, plain accuracy would vary
        alike: small classes weigh as much as large ones and are known less well. The
        accuracy of each class enters the variance with one right and one wrong image
        more (Agresti and Coull 1998), so that small ones that are all right are not
        taken to be sure.

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior".
    """
    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    hits = np.bincount(of_class, weights=right)
    accuracy = float((hits / sizes).mean())
    likely = (hits + 1) / (sizes + 2)
    variance = float((likely * (1 - likely) / sizes).sum()) / len(sizes) ** 2
    share = float(likely.mean())
    return accuracy, min(float(len(right)), share * (1 - share) / variance)
