"""The contract of a cleaner: what an attacker makes of answers that were defended.

A cleaner is ``clean(answered, help, *, numbers) -> answered``: it looks at what was
paid for, and nothing else. What it needs of the attacker's own stands in ``Help``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8


class Answered(NamedTuple):
    """What a theft has to train on; n images, v views of each, d numbers an answer.

    Attributes:
        rows: (n,) of the pool.
        images: uint8 (n, h, w, c), the pool's.
        asked: uint8 (n, v, h, w, c), the views that were sent.
        answers: float32 (n, v, d).
    """

    rows: Int64[np.ndarray, " n"]
    images: UInt8[np.ndarray, "n h w c"]
    asked: UInt8[np.ndarray, "n v h w c"]
    answers: Float32[np.ndarray, "n v d"]


class Help(NamedTuple):
    """What an attacker has beside the answers.

    Attributes:
        accounts: int (n, v), which of his accounts each answer came to, from 0.
        anchors: float32 (accounts, k, d), what each account was answered to the same k
            views: those of the first images; None without such.
        features: ``() -> (n, f)``, the images in an encoder of his own.
        predicted: ``() -> (n, d)``, what a first stealer, trained on these answers,
            would answer.
        defended: ``answers (n, f) -> (n, d')``: a copy of the defence with a secret of
            his own, behind an encoder of his own.
        random: To draw from.
    """

    accounts: Int64[np.ndarray, "n v"]
    anchors: Float32[np.ndarray, "a k d"] | None
    features: Callable[[], np.ndarray]
    predicted: Callable[[], np.ndarray]
    defended: Callable[[np.ndarray], np.ndarray]
    random: np.random.Generator
