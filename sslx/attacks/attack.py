"""The contract of an attack."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sslx.types import Objective


class Plan(NamedTuple):
    """The images to ask, one entry a query.

    Attributes:
        rows: int64 (n,), indices into the pool; n is the number of queries.
    """

    rows: np.ndarray

    def calls(self, size: int) -> list[tuple[str, np.ndarray]]:
        """Cuts the plan into calls of ``size`` images: (id of the call, rows)."""
        starts = range(0, len(self.rows), size)
        return [(f"{i:07d}", self.rows[s : s + size]) for i, s in enumerate(starts)]


class Attack(NamedTuple):
    """What to ask and what to train.

    Attributes:
        plan: ``(random, pool_size, queries) -> Plan`` with exactly ``queries``
            entries; ``random`` is a NumPy generator.
        objective: ``(encoder, views, loss, *, answer_dim, dtype) -> Objective`` on
            batches of images and their answers.
    """

    plan: Callable[[np.random.Generator, int, int], Plan]
    objective: Callable[..., Objective]
