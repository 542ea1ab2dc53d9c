"""A function that answers: ``python:MODULE:FUNCTION``.

It maps uint8 (n, h, w, c) to floating-point (n, d).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.registry import failure, imported
from sslx.rng import host_stream
from sslx.train import checkpoint
from sslx.types import UserError, refuse_if

Embed = Callable[[np.ndarray], np.ndarray]
ITEM = "answers"  # of a checkpoint
BATCH = 256  # images a function is given at most
FIXED = 8  # images whose answers identify a function


def check_answers(answers: Any, n: int, dim: int | None, whose: str) -> np.ndarray:
    """Answers to n images as float32 (n, d); raises a UserError unless they are."""
    try:
        array = np.asarray(answers)
    except Exception as error:  # a tensor on a device, a ragged list
        raise UserError(f"{whose}: no array ({type(error).__name__})") from None
    wanted = f"floating-point of shape ({n}, {dim or 'd'})"
    refuse_if(
        not jnp.issubdtype(array.dtype, jnp.floating),
        f"{whose} must be {wanted}, not {array.dtype} {array.shape}",
    )
    right = array.ndim == 2 and len(array) == n and array.shape[1] > 0
    refuse_if(
        not right or dim not in (None, array.shape[1]),
        f"{whose} must be {wanted}, not of shape {array.shape}",
    )
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        array = array.astype(np.float32)
    bad = int((~np.isfinite(array).all(1)).sum())
    refuse_if(bad, f"{whose}: {bad} of {n} hold NaN or infinite numbers")
    return array


def asking(spec: str, dim: int | None = None) -> Embed:
    """``embed`` that asks the function, at most ``BATCH`` images at once."""
    form = "python:MODULE:FUNCTION"
    ask = imported(spec, f"victim.source: 'python:{spec}'", form=form)

    def embed(images: np.ndarray) -> np.ndarray:
        parts: list[np.ndarray] = []
        for start in range(0, len(images), BATCH):
            chunk = np.array(images[start : start + BATCH])  # its own to write to
            n, width = len(chunk), parts[0].shape[1] if parts else dim
            try:
                answers = ask(chunk)
            except (Exception, SystemExit) as error:
                raise failure(f"victim.source: {spec}", error) from None
            parts.append(
                check_answers(answers, n, width, f"victim.source: {spec}'s answers")
            )
        return np.concatenate(parts)

    return embed


@cache
def identify(spec: str, image_shape: tuple[int, ...]) -> tuple[str, int]:
    """What tells a function from others: (digest of fixed answers, their width).

    It is sent eight images of noise, twice; and once in a process.

    Raises:
        UserError: No such function, not of that form, or it answers at random.
    """
    embed = asking(spec)
    images = host_stream(0, "fixed images").integers(
        0, 256, (FIXED, *image_shape), np.uint8
    )
    first, second = embed(images), embed(images)
    gap = np.abs(first - second).max() if first.shape == second.shape else np.inf
    refuse_if(
        gap > 0,
        f"victim.source: {spec} answers the same images differently, by {gap:.1g} at "
        "most; let it round its answers, or ask once and use npz:FILE",
    )
    return checkpoint.digest({ITEM: first}), first.shape[1]
