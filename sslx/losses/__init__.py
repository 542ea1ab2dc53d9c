"""Losses between two sets of representations: arrays in, a scalar and metrics out.

Every entry of ``LOSSES`` is called ``loss(student, teacher, **numbers)`` with two
(b, d) arrays whose rows belong to the same images; ``supcon`` takes their labels, too.
Losses know no devices: under ``jit`` with a sharded batch they see the whole batch.
They do not stop gradients: who trains only one side (extraction) detaches the other.

``NAME_reference`` is what the published code of the ICML 2022 study computes where that
is not what the loss of that name means; the others compute what is meant. Those of two
views want the views of an image as neighbouring rows.
"""

from collections.abc import Callable

from jax import Array

from sslx.losses.contrastive import infonce, infonce_reference, softnn, supcon
from sslx.losses.decision import (
    bce,
    bce_reference,
    soft_cross_entropy,
    soft_cross_entropy_reference,
)
from sslx.losses.histogram import energy, wasserstein
from sslx.losses.redundancy import barlow, barlow_reference, vicreg
from sslx.losses.regression import cosine, mse, regression
from sslx.types import Metrics

LOSSES: dict[str, Callable[..., tuple[Array, Metrics]]] = {
    "barlow": barlow,
    "barlow_reference": barlow_reference,
    "bce": bce,
    "bce_reference": bce_reference,
    "cosine": cosine,
    "energy": energy,
    "infonce": infonce,
    "infonce_reference": infonce_reference,
    "mse": mse,
    "regression": regression,
    "soft_cross_entropy": soft_cross_entropy,
    "soft_cross_entropy_reference": soft_cross_entropy_reference,
    "softnn": softnn,
    "supcon": supcon,
    "vicreg": vicreg,
    "wasserstein": wasserstein,
}
