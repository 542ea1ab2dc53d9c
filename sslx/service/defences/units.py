"""What several defences share: unit length, draws by key, checks of numbers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from sslx.types import refuse_if

MOST = 1000.0  # deviations: more noise hides nothing more, and would overflow


def unit(raw: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Answers of length 1; those of length 0 as they are."""
    x = raw.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def normal(keys: Iterable[Any], width: int) -> Float64[np.ndarray, "n width"]:
    """Standard normal draws, ``width`` by each key.

    Args:
        keys: Of the images, uint32 (n, 8), or generators that were made of them, which
            draw on from where they are; one at least.
        width: Numbers of an answer.
    """
    return np.stack([np.random.default_rng(k).standard_normal(width) for k in keys])


def moves(name: str, key: str, value: float) -> None:
    """Raises a UserError where a share of a deviation changes no answer, or is none.

    Less than a step of float32, as which answers are stored, changes none.
    """
    where = f"service.defence_kw.{name}.{key}"
    refuse_if(
        not float(np.finfo(np.float32).eps) <= value < np.inf,
        f"{where} is {value}, which changes nothing or is no number; write a share of "
        "a deviation, as 0.1",
    )
    refuse_if(
        value > MOST,
        f"{where} must be {MOST:g} at most, not {value}: it is in deviations, of which "
        "more hide nothing more",
    )


def below(name: str, key: str, value: int, dim: int) -> None:
    """Raises a UserError unless a number of an answer's numbers is one, and not all."""
    refuse_if(
        type(value) is not int or not 1 <= value < dim,
        f"service.defence_kw.{name}.{key} must be a whole number from 1 to {dim - 1}, "
        f"below the {dim} numbers of an answer, not {value}",
    )
