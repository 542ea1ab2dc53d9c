"""A function that answers: ``python:MODULE:FUNCTION``.

It maps uint8 (n, h, w, c) to floating-point (n, d).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.progress import say
from sslx.registry import failure, imported
from sslx.rng import host_stream
from sslx.train import checkpoint
from sslx.types import UserError, refuse_if

Embed = Callable[[np.ndarray], np.ndarray]
ITEM = "answers"  # of a checkpoint
BATCH = 256  # images a function is given at most
FIXED = 8  # images whose answers identify a function
# Some of them again, of other company, order and size of the call; that call twice. In
# it a dark image, the last one, which is then asked alone: noise is all of one range.
AGAIN = ([6, 3, FIXED], [6, 3, FIXED], [FIXED])
DARK = 8  # its grey values are so many times less
CHECK = FIXED + sum(map(len, AGAIN))  # images that a check sends
ROUNDING = 0.01, 1e-3  # of what images differ by, and of their length: no other answer


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

    It is sent ``CHECK`` images of noise, once in a process, which a line says: eight
    whose answers name it, and some of these in other calls.

    Raises:
        UserError: No such function, not of that form, or it answers at random or by
            what else is in a call.
    """
    embed = asking(spec)
    say(
        f"[victim] python:{spec} is asked {CHECK} images of noise that are in no plan, "
        "to name and check it (service.self_check=False: none)"
    )
    images = host_stream(0, "fixed images").integers(
        0, 256, (FIXED, *image_shape), np.uint8
    )
    first = embed(images)
    embed = asking(spec, first.shape[1])
    more = np.concatenate([images, images[:1] // DARK])
    again = [embed(more[rows]) for rows in AGAIN]
    _check_repeats(f"victim.source: {spec}", first, again)
    return checkpoint.digest({ITEM: first}), first.shape[1]


@cache
def leave_unchecked(spec: str) -> None:
    """Says once what is not known of a function that is not asked."""
    asking(spec)
    say(
        f"[victim] service.self_check=False: nothing checks that python:{spec} is the "
        "function of an earlier start, or answers an image by itself"
    )


def _check_repeats(who: str, first: np.ndarray, again: list[np.ndarray]) -> None:
    """Raises a UserError unless answers to ``AGAIN`` are those given ``first``.

    The same call must be answered alike to the last bit. In another one honest
    functions round otherwise; that is let pass up to a part of what images differ by.
    """
    gap = np.abs(again[0] - again[1]).max()
    refuse_if(
        gap > 0,
        f"{who} answers the same images differently, by {gap:.1g} at most; let it "
        "round its answers, or ask once and use npz:FILE",
    )
    wide = first.astype(np.float64)
    spread = np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean())
    length = np.sqrt(np.square(wide).sum(1).mean())
    wide = np.concatenate([wide, again[-1]])
    off = np.concatenate(again) - wide[np.concatenate(AGAIN)]
    gap = np.sqrt(np.square(off).sum(1)).max()
    share, part = ROUNDING
    refuse_if(
        gap > share * spread + part * length,
        f"{who} answers the same image otherwise in another call, by {gap:.1g} where "
        f"different images differ by {spread:.1g}: by statistics of the batch "
        "(model.eval() ends that), order, padding or a count of its own; let it answer "
        "each image by itself, or ask once and use npz:FILE",
    )
