"""Randomness as a function of (seed, name of the stream, step); nothing to save."""

import zlib
from functools import lru_cache

import jax
import numpy as np
from jax import Array


def stream(seed: int | Array, name: str, step: int | Array = 0) -> Array:
    """The JAX key of a named stream at a step.

    ``step`` may be traced, and so may ``seed``, as uint32. The generator is Threefry,
    whichever is JAX's default.
    """
    key = jax.random.key(seed, impl="threefry2x32")
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return jax.random.fold_in(key, step)


def host_stream(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """The same for NumPy, for what is decided on the host."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), step])


@lru_cache(maxsize=2)  # a dispatch may begin in one epoch and end in the next
def _order(seed: int, n: int, epoch: int) -> np.ndarray:
    return host_stream(seed, "order", epoch).permutation(n)


def rows_at(seed: int, n: int, batch_size: int, step: int) -> np.ndarray:
    """Which of n rows make the batch of a step.

    Each epoch is a permutation of its own, cut into whole batches; the n %
    batch_size rows left over differ from epoch to epoch.

    Returns:
        int64 (batch_size,), all different.
    """
    epoch, i = divmod(step, n // batch_size)
    return _order(seed, n, epoch)[i * batch_size : (i + 1) * batch_size]
