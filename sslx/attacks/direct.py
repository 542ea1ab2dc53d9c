"""Direct extraction (Dziedzic et al. 2022): ask each image once, match the answers."""

import numpy as np

from sslx.attacks.attack import Attack, Plan
from sslx.objectives.distill import distill


def _plan(random: np.random.Generator, pool_size: int, queries: int) -> Plan:
    # A prefix of one permutation: with one seed, a smaller budget asks a subset of
    # what a larger one asks, so a sweep over budgets compares like with like.
    return Plan(random.permutation(pool_size)[:queries])


DIRECT = Attack(_plan, distill)
