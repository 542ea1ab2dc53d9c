"""What is wrong with a defence's numbers, in one line that says which."""

from typing import Any

import numpy as np

from sslx.types import refuse_if

# Of a deviation: less is lost when an answer is stored as float32.
LEAST = float(np.finfo(np.float32).eps)


def where(defence: str, number: str) -> str:
    """How a number is called in messages."""
    return f"service.defence_kw.{defence}.{number}"


def check_strength(defence: str, number: str, value: Any) -> None:
    """Raises a UserError where so small a share of a deviation changes no answer."""
    refuse_if(
        not LEAST <= value < np.inf,
        f"{where(defence, number)} is {value}, which changes nothing or is no number; "
        "write a share of a number's deviation, as 0.1",
    )


def check_whole(defence: str, number: str, value: Any) -> None:
    """Raises a UserError unless a width is a whole number above 0."""
    refuse_if(
        type(value) is not int or value < 1,
        f"{where(defence, number)} must be a whole number above 0, not {value}",
    )


def narrower(defence: str, number: str, value: int, dim: int) -> int:
    """The value, once it is below the width of the answers that are given.

    Raises:
        UserError: It is not.
    """
    refuse_if(
        value >= dim,
        f"{where(defence, number)} is {value}, but the answers it is given have "
        f"{dim} numbers: write less",
    )
    return value
