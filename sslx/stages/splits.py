"""Who may see which images: the victim, the attacker, the test."""

import numpy as np

from sslx.engine.rng import host_stream


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
        Two ascending int arrays that together hold each of 0..n-1 once.
    """
    originals = np.unique(ids)
    if seed is None:
        chosen = originals[::-1]
    else:
        chosen = host_stream(seed, "split").permutation(originals)
    chosen = chosen[: round(share * len(originals))]
    inside = np.isin(ids, chosen)
    return np.flatnonzero(~inside), np.flatnonzero(inside)
