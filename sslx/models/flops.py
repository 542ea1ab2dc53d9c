"""What passes through a network cost in floating-point operations."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from sslx.models import make_encoder

BATCH = 8  # images of the forward pass that is counted


def count_flops(function: Callable[..., Any], *args: Any) -> float | None:
    """Operations of one call, as XLA counts them in the program as written.

    Always lowered for a CPU, so that nothing depends on the machine: accelerators
    reached through a plugin count nothing before they compile, and their compiled
    programs leave out what a library's kernels do. Nothing is compiled or computed.

    Args:
        function: Of arrays; not bound to devices, as by a jit with shardings.
        *args: Its arguments: arrays, shapes (ShapeDtypeStruct) or trees of them.

    Returns:
        None where JAX was told to leave the CPU out (JAX_PLATFORMS=cuda; "cuda,cpu"
        keeps it).
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
    # Shapes alone: an array that lies on an accelerator would draw the program there.
    shapes = jax.eval_shape(lambda *x: x, *args)
    with jax.default_device(cpu):
        counted = jax.jit(function).lower(*shapes).cost_analysis()
    return (counted or {}).get("flops")


def forward_flops(encoder: dict[str, Any], image_shape: list[int]) -> float | None:
    """Operations of one image's way through an encoder; see ``count_flops``.

    Args:
        encoder: ``Encoder.meta``.
        image_shape: (h, w, c).
    """
    return _forward(json.dumps(encoder, sort_keys=True), tuple(image_shape))


@cache
def _forward(encoder: str, image_shape: tuple[int, ...]) -> float | None:
    meta = json.loads(encoder)
    net = make_encoder(meta["name"], **meta["kw"])
    images = jax.ShapeDtypeStruct((BATCH, *image_shape), jnp.float32)
    params, stats = jax.eval_shape(net.init, jax.random.key(0), images)

    def features(params, stats, images):
        return net.apply(params, stats, images, False)[0]

    flops = count_flops(features, params, stats, images)
    return None if flops is None else flops / BATCH
