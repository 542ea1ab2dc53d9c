"""Encoders that somebody brings as PyTorch weights."""

from collections.abc import Callable
from typing import Any

import jax

from sslx.models import from_torch, read_weights
from sslx.types import Params, UserError


def read_trunk(
    file: str, encoder: dict[str, Any], told: Callable[[str], None] | None = None
) -> dict[str, Params]:
    """The item ``encoder`` of a checkpoint, from a file of weights.

    Args:
        file: As ``read_weights`` takes it.
        encoder: ``Encoder.meta`` of the network that they are of.
        told: Is told what of the file was left aside; None for nobody.

    Raises:
        UserError: No such file, or not the weights of that network.
    """
    kw, state = encoder["kw"], read_weights(file)
    try:
        params, stats = from_torch(
            encoder["name"], state, stem=kw["stem"], width=kw["width"], told=told
        )
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return {"params": jax.device_get(params), "stats": jax.device_get(stats)}
