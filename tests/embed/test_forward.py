"""Forward passes by batches."""

import jax
import numpy as np
import pytest


@pytest.mark.parametrize("n", [1, 256, 257, 1500])
def test_batches_come_back_in_order(n):
    # Catches batches lost, doubled or swapped on the way, padding handed on.
    images = np.arange(n * 4, dtype=np.uint16).view(np.uint8).reshape(n, 2, 2, 2)
    forward = jax.jit(lambda scale, x: scale * x.reshape(len(x), -1))
    found = forward.in_batches(forward, np.float32(3), images)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, 3.0 * images.reshape(n, -1))


def test_few_batches_are_on_the_way():
    # Catches an accelerator that waits while the host copies, and a set of any size
    # held on it at once.
    events = []

    class Features:
        def __array__(self, dtype=None, copy=None):
            events.append(-1)
            return np.zeros((forward.EMBED_BATCH, 3), np.float32)

    def forward(variables, images):
        events.append(1)
        return Features()

    images = np.zeros((10 * forward.EMBED_BATCH, 2, 2, 1), np.uint8)
    forward.in_batches(forward, {}, images)
    flying = np.cumsum(events)
    assert flying.max() == forward.AHEAD + 1 and flying[-1] == 0
    assert flying[forward.AHEAD : -forward.AHEAD].min() >= forward.AHEAD
