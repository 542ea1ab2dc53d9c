"""Encoders that others run: answers recorded elsewhere, or a function that answers.

``npz:FILE`` holds ``images``, uint8 (n, h, w, c), and ``embeddings``, floating-point
(n, d). ``python:MODULE:FUNCTION`` maps uint8 (n, h, w, c) to floating-point (n, d).
"""

import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import data
from sslx.data.npz import read_arrays
from sslx.engine import checkpoint
from sslx.engine.rng import host_stream
from sslx.types import UserError

KINDS = ("npz", "python")
ITEM = "answers"  # of a checkpoint
BATCH = 256  # images a function is given at most
FIXED = 8  # images whose answers identify a function
KEY = 16  # bytes that stand for an image's content

Embed = Callable[[np.ndarray], np.ndarray]


class Recording(NamedTuple):
    """What an API has answered; n images, each once.

    Attributes:
        images: uint8 (n, h, w, c).
        keys: uint8 (n, 16), of ``content``.
        embeddings: float32 (n, d).
    """

    images: np.ndarray
    keys: np.ndarray
    embeddings: np.ndarray


def content(images: np.ndarray) -> np.ndarray:
    """What tells images apart: uint8 (n, 16), a digest of shape and pixels of each."""
    shape = repr(images.shape[1:]).encode()
    found = (
        hashlib.blake2b(shape + image.tobytes(), digest_size=KEY) for image in images
    )
    rows = b"".join(digest.digest() for digest in found)
    return np.frombuffer(rows, np.uint8).reshape(-1, KEY)


def recorded_in(source: str) -> str:
    """The file of a ``victim.source`` whose answers are recorded; "" for any other."""
    kind, _, file = source.partition(":")
    return file if kind == "npz" else ""


def record(file: str) -> Recording:
    """Reads a file of images and their embeddings.

    Raises:
        UserError: No such file, not of that form, or one image with two answers.
    """
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise UserError(
            f"no file {path}; victim.source='npz:FILE' names one with images and "
            "embeddings"
            if file
            else "write the file's path after 'npz:' in victim.source"
        )
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> Recording:
    """``stamp`` tells versions of the file apart."""
    try:
        arrays = read_arrays(path)
    except ValueError:
        raise UserError(
            f"{path} is not a readable npz file with images and embeddings"
        ) from None
    lacks = [name for name in ("images", "embeddings") if name not in arrays]
    if lacks:
        raise UserError(
            f"{path} lacks {' and '.join(lacks)}; it must hold images, uint8 "
            "(n, h, w, c), and embeddings, floating-point (n, d)"
        )
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{path}: images must be uint8 of shape (n, h, w, c), n at least 1, not "
            f"{images.dtype} {images.shape}"
        )
    embeddings = _answers(
        arrays["embeddings"], len(images), None, f"{path}: embeddings"
    )
    return _once(Recording(images, content(images), embeddings), path)


def _once(found: Recording, path: Path) -> Recording:
    """Each image once, where it is first."""
    _, first, same = np.unique(
        found.keys, axis=0, return_index=True, return_inverse=True
    )
    kept = first[same.ravel()]  # of each row, the first one with its image
    differ = (found.embeddings != found.embeddings[kept]).any(1)
    if differ.any():
        raise UserError(
            f"{path} has {int(differ.sum())} images a second time with another "
            "embedding; keep one answer for each image"
        )
    rows = np.sort(first)
    return Recording(*(array[rows] for array in found))


def _answers(answers: Any, n: int, dim: int | None, whose: str) -> np.ndarray:
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


def _recorded(keys: np.ndarray, embeddings: np.ndarray) -> Embed:
    row = {key.tobytes(): i for i, key in enumerate(keys)}

    def embed(images: np.ndarray) -> np.ndarray:
        rows = [row.get(key.tobytes()) for key in content(images)]
        missing = rows.count(None)
        if missing:
            raise UserError(
                f"{missing} of {len(images)} images are not among the {len(row)} that "
                "the API was asked; ask it for them, too, and add them to the file"
            )
        return embeddings[np.array(rows, np.int64)]

    return embed


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
                _answers(answers, n, width, f"victim.source: {spec}'s answers")
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


def opened(path: Path, meta: dict[str, Any]) -> Embed:
    """``embed`` of an API's run, uint8 (n, h, w, c) to float32 (n, d).

    Raises:
        UserError: The recording is damaged, or the function is not what it was.
    """
    if meta["origin"] == "npz":
        n, sealed = meta["images"], meta.get("weights")
        like = {
            "keys": jax.ShapeDtypeStruct((n, KEY), np.uint8),
            "embeddings": jax.ShapeDtypeStruct((n, meta["dim"]), np.float32),
        }
        found = jax.device_get(checkpoint.load(path, ITEM, like, sealed=sealed))
        return _recorded(found["keys"], found["embeddings"])
    spec = meta["function"]
    if identify(spec, tuple(meta["image_shape"]))[0] != meta["answers"]:
        raise UserError(
            f"{spec} answers otherwise than when {path} was made; start the experiment "
            "again, which makes a new victim"
        )
    return _asking(spec, meta["dim"])


def _keys(images: np.ndarray) -> set[bytes]:
    return {key.tobytes() for key in content(images)}


@lru_cache(maxsize=8)
def _keys_of(name: str, split: str, options: data.Options) -> set[bytes]:
    return _keys(data.load(name, split, options).images)


def askable(file: str, names: Sequence[str], options: data.Options) -> np.ndarray:
    """The images of a recording that are no test image of the sets named.

    Args:
        file: As of ``record``.
        names: Of the probes' data sets.
        options: How these are read.

    Returns:
        uint8 (m, h, w, c), in the file's order.
    """
    found = record(file)
    tests: set[bytes] = set()
    tests = tests.union(*(_keys_of(name, "test", options) for name in names))
    return found.images[[key.tobytes() not in tests for key in found.keys]]


def unanswered(file: str, name: str, options: data.Options) -> int:
    """How many different images of a data set a recording has no answer to."""
    known = {key.tobytes() for key in record(file).keys}
    wanted = _keys_of(name, "train", options) | _keys_of(name, "test", options)
    return len(wanted - known)
