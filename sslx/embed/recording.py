"""Answers that an API gave elsewhere, in a file.

``npz:FILE`` holds ``images``, uint8 (n, h, w, c), and ``embeddings``, floating-point
(n, d).
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx import data
from sslx.data.form import check_images, pixel_ids
from sslx.embed.function import Embed, check_answers
from sslx.runs.files import read_arrays
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if

KEY = 16  # bytes that stand for an image's content


class Recording(NamedTuple):
    """What an API has answered; n images, each once.

    Attributes:
        images: uint8 (n, h, w, c).
        keys: uint8 (n, 16), of ``content``.
        embeddings: float32 (n, d).
        marks: int64 (n,), as of ``sslx.data.marks``.
    """

    images: np.ndarray
    keys: np.ndarray
    embeddings: np.ndarray
    marks: np.ndarray


def item_of(found: Recording) -> dict[str, np.ndarray]:
    """What a checkpoint holds of it."""
    return {"keys": found.keys, "embeddings": found.embeddings}


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
    refuse_if(not file, "write the file's path after 'npz:' in victim.source")
    path = local_path(file)
    refuse_if(
        not path.is_file(),
        f"no file {path}; victim.source='npz:FILE' names one with images and "
        "embeddings",
    )
    stat = path.stat()
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple[int, int]) -> Recording:
    """``stamp`` tells versions of the file apart."""
    try:
        arrays = read_arrays(path)
    except ValueError:
        raise UserError(
            f"{path} is not a readable npz file with images and embeddings"
        ) from None
    lacks = [name for name in ("images", "embeddings") if name not in arrays]
    refuse_if(
        lacks,
        f"{path} lacks {' and '.join(lacks)}; it must hold images, uint8 "
        "(n, h, w, c), and embeddings, floating-point (n, d)",
    )
    images = check_images(arrays["images"], f"{path}: images")
    embeddings = check_answers(
        arrays["embeddings"], len(images), None, f"{path}: embeddings"
    )
    found = Recording(images, content(images), embeddings, pixel_ids(images))
    return _once(found, path)


def _once(found: Recording, path: Path) -> Recording:
    """Each image once, where it is first."""
    _, first, same = np.unique(
        found.keys, axis=0, return_index=True, return_inverse=True
    )
    kept = first[same.ravel()]  # of each row, the first one with its image
    differ = (found.embeddings != found.embeddings[kept]).any(1)
    refuse_if(
        differ.any(),
        f"{path} has {int(differ.sum())} images a second time with another "
        "embedding; keep one answer for each image",
    )
    rows = np.sort(first)
    return Recording(*(array[rows] for array in found))


def recorded(keys: np.ndarray, embeddings: np.ndarray) -> Embed:
    """``embed`` that looks answers up; the two as of ``Recording``."""
    row = {key.tobytes(): i for i, key in enumerate(keys)}

    def embed(images: np.ndarray) -> np.ndarray:
        rows = [row.get(key.tobytes()) for key in content(images)]
        missing = rows.count(None)
        refuse_if(
            missing,
            f"{missing} of {len(images)} images are not among the {len(row)} that "
            "the API was asked; ask it for them, too, and add them to the file",
        )
        return embeddings[np.array(rows, np.int64)]

    return embed


def askable(file: str, tests: Sequence[tuple[str, data.Options]]) -> np.ndarray:
    """The images of a recording that are no test image of some data sets.

    Args:
        file: As of ``record``.
        tests: Names of the sets, and how they are read.

    Returns:
        uint8 (m, h, w, c), in the file's order.
    """
    found = record(file)
    tested = [data.marks(name, "test", how) for name, how in tests]
    known = np.concatenate([np.empty(0, np.int64), *tested])
    return found.images[~np.isin(found.marks, known)]


def unanswered(file: str, name: str, options: data.Options) -> int:
    """How many different images of a data set a recording has no answer to."""
    wanted = [data.marks(name, split, options) for split in ("train", "test")]
    return len(np.setdiff1d(np.concatenate(wanted), record(file).marks))
