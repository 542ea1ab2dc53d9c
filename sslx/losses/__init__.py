"""Losses between two sets of representations: arrays in, a scalar and metrics out.

Every entry of ``LOSSES`` is called ``loss(student, teacher, **numbers)`` with two
(b, d) arrays whose rows belong to the same images. Losses know no devices: under
``jit`` with a sharded batch they see the whole batch. They do not stop gradients:
who trains only one side (extraction) detaches the other.
"""

from collections.abc import Callable

from jax import Array

from sslx.losses.contrastive import infonce, softnn
from sslx.losses.redundancy import barlow, vicreg
from sslx.losses.regression import cosine, mse, regression
from sslx.types import Metrics

LOSSES: dict[str, Callable[..., tuple[Array, Metrics]]] = {
    "barlow": barlow,
    "cosine": cosine,
    "infonce": infonce,
    "mse": mse,
    "regression": regression,
    "softnn": softnn,
    "vicreg": vicreg,
}
