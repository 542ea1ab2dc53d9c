"""Losses between two sets of representations: arrays in, a scalar and metrics out.

Every entry of ``LOSSES`` is called ``loss(student, teacher, **numbers)`` with two
(b, d) arrays whose rows belong to the same images. Losses know no devices: under
``jit`` with a sharded batch they see the whole batch. They do not stop gradients:
who trains only one side (extraction) detaches the other.
"""

from collections.abc import Callable

from jax import Array

from sslx.losses.contrastive import infonce, softnn
from sslx.losses.regression import mse
from sslx.types import Metrics

LOSSES: dict[str, Callable[..., tuple[Array, Metrics]]] = {
    "mse": mse,
    "infonce": infonce,
    "softnn": softnn,
}
