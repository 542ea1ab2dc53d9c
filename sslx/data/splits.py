"""Who may see which images: the victim, the attacker, the test."""

from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sslx.rng import host_stream


def joined(ids: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Ids by which copies stay together: of rows with one id or one mark, the least.

    Args:
        ids: int64 (n,), equal for rows that show the same original.
        marks: int64 (n,), equal for rows of equal pixels.

    Returns:
        int64 (n,), read-only, equal to ``ids`` where no rows of different ids are
        copies; rows that are alike through a third one are alike.
    """
    return _joined(*(np.asarray(array, np.int64).tobytes() for array in (ids, marks)))


@lru_cache(maxsize=32)  # a study asks for the same ones again and again
def _joined(*both: bytes) -> np.ndarray:
    ids, marks = (np.frombuffer(array, np.int64) for array in both)
    first, by_id = np.unique(ids, return_inverse=True)
    known, by_mark = np.unique(marks, return_inverse=True)
    size = len(first) + len(known)
    pairs = coo_array(
        (np.ones(len(ids)), (by_id, len(first) + by_mark)), shape=(size, size)
    )
    count, part = connected_components(pairs, directed=False)
    if count == len(first):
        return ids  # of bytes, so it cannot be written to
    least = np.zeros(count, np.int64)
    # Ids ascend in ``first``, so the least of a part is written last.
    least[part[: len(first)][::-1]] = first[::-1]
    out = least[part[by_id]]
    out.flags.writeable = False
    return out


def divide(
    ids: np.ndarray, share: float, seed: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Divides rows in two by what they show: (rows of the rest, rows of the share).

    Args:
        ids: int (n,); rows with one id stay together.
        share: Of the distinct ids, rounded; 0 to 1.
        seed: Chooses which; None for those with the highest ids, which with ids that
            count (TFDS's ``test_09999``) are the last ones.

    Returns:
        Two ascending int arrays that together hold each of 0..n-1 once; read-only.
    """
    return _divide(np.asarray(ids, np.int64).tobytes(), share, seed)


@lru_cache(maxsize=32)  # a study divides the same sets for each of its combinations
def _divide(
    ids: bytes, share: float, seed: int | None
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.frombuffer(ids, np.int64)
    originals = np.unique(rows)
    if seed is None:
        chosen = originals[::-1]
    else:
        chosen = host_stream(seed, "split").permutation(originals)
    chosen = chosen[: round(share * len(originals))]
    inside = np.isin(rows, chosen)
    parts = np.flatnonzero(~inside), np.flatnonzero(inside)
    for part in parts:
        part.flags.writeable = False  # handed out again
    return parts
