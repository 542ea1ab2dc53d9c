"""Losses between two sets of representations: arrays in, a scalar and metrics out.

Every entry of ``LOSSES`` is called ``loss(student, teacher, **numbers)`` with two
(b, d) arrays whose rows belong to the same images. What more is to be known of one
(labels, pairs of views, numbers that may be 0) stands beside it: ``registry.Traits``.
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
from sslx.registry import pick
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


def loss_of(name: str) -> Callable[..., tuple[Array, Metrics]]:
    """The loss of a name, of the table or MODULE:NAME; a UserError if there is none."""
    return pick(LOSSES, name, "loss", own=True)
