"""A function that answers: ``python:MODULE:FUNCTION``.

It maps uint8 (n, h, w, c) to floating-point (n, d).
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sslx.embed.answers import ITEM, Embed, check_answers
from sslx.rng import host_stream
from sslx.train import checkpoint
from sslx.types import UserError

BATCH = 256  # images a function is given at most


FIXED = 8  # images whose answers identify a function


def _failed(what: str, error: BaseException) -> UserError:
    """A user's own error, with the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())
    where = f"{os.path.basename(place.filename)}, line {place.lineno}"
    return UserError(f"{what} failed: {words[:200]} ({where})")


@cache
def _function(spec: str) -> Callable[[np.ndarray], Any]:
    """Imports MODULE:FUNCTION, from the working directory first."""
    module, _, name = spec.partition(":")
    if not module or not name.isidentifier():
        raise UserError(
            f"victim.source: 'python:{spec}' is not of the form python:MODULE:FUNCTION"
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"victim.source: there is no module {module!r}, neither installed nor "
                "in the working directory"
            ) from None
        raise _failed(f"importing {module}", error) from None
    except (Exception, SystemExit) as error:
        raise _failed(f"importing {module}", error) from None
    if not callable(found):
        raise UserError(f"victim.source: {module!r} has no function {name!r}")
    return found


def _asking(spec: str, dim: int | None = None) -> Embed:
    """``embed`` that asks the function, at most ``BATCH`` images at once."""
    ask = _function(spec)

    def embed(images: np.ndarray) -> np.ndarray:
        parts: list[np.ndarray] = []
        width = dim
        for start in range(0, len(images), BATCH):
            chunk = np.array(images[start : start + BATCH])  # its own to write to
            n = len(chunk)
            try:
                answers = ask(chunk)
            except (Exception, SystemExit) as error:
                raise _failed(f"victim.source: {spec}", error) from None
            parts.append(
                check_answers(answers, n, width, f"victim.source: {spec}'s answers")
            )
            width = parts[0].shape[1]
        return np.concatenate(parts)

    return embed


@cache
def identify(spec: str, image_shape: tuple[int, ...]) -> tuple[str, int]:
    """What tells a function from others: (digest of fixed answers, their width).

    It is sent eight images of noise, twice; and once in a process.

    Raises:
        UserError: No such function, not of that form, or it answers at random.
    """
    embed = _asking(spec)
    images = host_stream(0, "fixed images").integers(
        0, 256, (FIXED, *image_shape), np.uint8
    )
    first, second = embed(images), embed(images)
    if not np.array_equal(first, second):
        raise UserError(
            f"victim.source: {spec} answers the same images differently, by "
            f"{np.abs(first - second).max():.1g} at most; let it round its answers, or "
            "ask once and use npz:FILE"
        )
    return checkpoint.digest({ITEM: first}), first.shape[1]
