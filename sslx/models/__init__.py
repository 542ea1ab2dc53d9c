"""Encoders as pure functions; linen stays inside this folder."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from sslx.models import conv3, resnet
from sslx.models.linen import pure
from sslx.models.torch_weights import from_torch, to_torch
from sslx.models.weight_files import read_weights
from sslx.registry import pick
from sslx.types import Encoder, refuse_if

__all__ = ["ENCODERS", "from_torch", "make_encoder", "read_weights", "to_torch"]

# name -> function of keywords that returns (linen module, width of the features)
ENCODERS: dict[str, Callable[..., Any]] = {
    "conv3": conv3.conv3,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}


def make_encoder(name: str, **kw: Any) -> Encoder:
    """Builds an encoder.

    Args:
        name: One of ``ENCODERS``.
        **kw: The architecture's own numbers, e.g. ``width``; and ``dtype``
            ("float32" or "bfloat16"), the type of the computation. Parameters and
            running statistics are float32 either way.

    Returns:
        An ``Encoder``; ``meta`` holds the name and all keywords, defaults included.

    Raises:
        UserError: Unknown name or keyword.
    """
    build = pick(ENCODERS, name, "encoder")
    known = inspect.signature(build).parameters
    for key in kw:
        refuse_if(
            key not in known,
            f"encoder {name!r} knows no {key!r}; known: {', '.join(known)}",
        )
    full = {key: p.default for key, p in known.items()} | kw
    full["dtype"] = jnp.dtype(full["dtype"]).name
    refuse_if(
        full["dtype"] not in ("float32", "bfloat16", "float64"),
        f"encoder dtype must be float32 or bfloat16, not {full['dtype']}",
    )
    module, dim = build(**full)
    init, apply = pure(module)
    return Encoder(init, apply, dim, {"name": name, "kw": full})
