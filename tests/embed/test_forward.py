"""Forward passes by batches."""

import jax
import numpy as np
import pytest

from sslx.embed import forward


@pytest.mark.parametrize("n", [1, 256, 257, 1500])
def test_batches_come_back_in_order(n):
    # Catches batches lost, doubled or swapped on the way, padding handed on.
    images = np.arange(n * 4, dtype=np.uint16).view(np.uint8).reshape(n, 2, 2, 2)
    scaled = jax.jit(lambda scale, x: scale * x.reshape(len(x), -1))
    found = forward.in_batches(scaled, np.float32(3), images)
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

    def features(variables, images):
        events.append(1)
        return Features()

    images = np.zeros((10 * forward.EMBED_BATCH, 2, 2, 1), np.uint8)
    forward.in_batches(features, {}, images)
    flying = np.cumsum(events)
    assert flying.max() == forward.AHEAD + 1 and flying[-1] == 0
    assert flying[forward.AHEAD : -forward.AHEAD].min() >= forward.AHEAD


def test_one_program_for_each_network():
    # Catches a network that is compiled anew at each call, and one program for two.
    conv3 = {"name": "conv3", "kw": {"width": 4, "dtype": "float32"}}
    head = {"widths": [8], "dtype": "float32"}
    one = forward.make_forward(conv3, None, [0.5], [0.25])
    assert forward.make_forward(conv3 | {}, None, (0.5,), (0.25,)) is one
    wider = conv3 | {"kw": conv3["kw"] | {"width": 8}}
    for other in (
        (conv3, None, [0.4], [0.25]),
        (conv3, None, [0.5], [0.5]),
        (conv3, head, [0.5], [0.25]),
        (wider, None, [0.5], [0.25]),
    ):
        assert forward.make_forward(*other) is not one
