"""Which of his images an attacker keeps from training, to choose numbers by.

A test image is not his to choose by; a part of what he paid for is (docs/choosing.md).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from sslx.rng import host_stream
from sslx.types import refuse_if

STREAM = "held back"  # of the attacker's seed
DISTANCE, AGREEMENT = "distance", "agreement"  # what he judges by, or a loss


class Parts(NamedTuple):
    """Places among the images that he has, ascending.

    Attributes:
        kept: What is trained on.
        held: What the training is judged on.
    """

    kept: Int64[np.ndarray, " k"]
    held: Int64[np.ndarray, " h"]


def count_of(share: float, n: int) -> int:
    """How many of n images are kept from training."""
    return round(share * n)


def divided(
    seed: int,
    ids: Int64[np.ndarray, " pool"],
    rows: Int64[np.ndarray, " n"],
    share: float,
) -> Parts:
    """Divides the images that he has in two: what trains, and what judges.

    All originals of the pool stand in one order, drawn from the seed alone; those of
    his images that come first in it are held back, ``count_of`` of them. So trainings
    of one seed hold back the same images, whatever is trained, and a training on part
    of the pool few that one on all of it has seen. What shows the same original goes
    together: of one that the count divides, what is left over is in neither part.

    Args:
        seed: The attacker's.
        ids: Of the pool's images; equal for those that show the same original.
        rows: Of the pool, the images that he has.
        share: Held back; 0 for none.

    Raises:
        UserError: No original is held back with all its images.
    """
    count = count_of(share, len(rows))
    originals, own = np.unique(ids, return_inverse=True)
    rank = host_stream(seed, STREAM).permutation(len(originals))[own[rows]]
    order = np.argsort(rank, kind="stable")
    kept, held = order[count:], order[:count]
    held = held[~np.isin(rank[held], rank[kept])]
    refuse_if(
        count and not len(held),
        f"steal.held_back.share={share} of {len(rows)} images is less than one "
        "original's; write a larger share",
    )
    return Parts(np.sort(kept), np.sort(held))
