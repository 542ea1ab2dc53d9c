"""Several answers to one image as one."""

import numpy as np

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.registry import traits


def _as_one(given: Answered, answers: np.ndarray) -> Answered:
    """Of each image one answer, to the image as it is."""
    asked = given.images[:, None]
    return given._replace(asked=asked, answers=answers[:, None].astype(np.float32))


@traits(one_answer=True)
def mean(given: Answered, help: Help) -> Answered:
    """The mean of an image's answers: noise of m fresh ones shrinks by sqrt(m).

    Of repeats (``steal.ask_augment="none"``, ``service.repeats="fresh"``), of views, or
    of images a grey value apart (preset "dither") against rounding, where the mean of
    many finds what lies between two steps.
    """
    return _as_one(given, given.answers.mean(axis=1, dtype=np.float64))


@traits(one_answer=True)
def union(given: Answered, help: Help) -> Answered:
    """Each number from the answers that show it, against answers of which most are 0.

    The mean over those views in which the number is not 0; 0 where it is in none.
    """
    shown = given.answers != 0
    total = given.answers.sum(axis=1, dtype=np.float64)
    return _as_one(given, total / np.maximum(shown.sum(axis=1), 1))
