"""The form of answers: what is asked gives float32 (n, d)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.types import UserError

Embed = Callable[[np.ndarray], np.ndarray]
ITEM = "answers"  # of a checkpoint


def check_answers(answers: Any, n: int, dim: int | None, whose: str) -> np.ndarray:
    """Answers to n images as float32 (n, d); raises a UserError unless they are."""
    try:
        array = np.asarray(answers)
    except Exception as error:  # a tensor on a device, a ragged list
        raise UserError(f"{whose}: no array ({type(error).__name__})") from None
    wanted = f"floating-point of shape ({n}, {dim or 'd'})"
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(f"{whose} must be {wanted}, not {array.dtype} {array.shape}")
    right = array.ndim == 2 and len(array) == n and array.shape[1] > 0
    if not right or dim not in (None, array.shape[1]):
        raise UserError(f"{whose} must be {wanted}, not of shape {array.shape}")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        array = array.astype(np.float32)
    bad = int((~np.isfinite(array).all(1)).sum())
    if bad:
        raise UserError(f"{whose}: {bad} of {n} hold NaN or infinite numbers")
    return array
