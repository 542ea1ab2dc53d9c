"""An encoder that nobody has trained, as a thing to be asked for features."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx.embed.forward import EMBED_BATCH, embedder
from sslx.models import make_encoder
from sslx.models.linen import STATS_DECAY
from sslx.models.preprocess import normalise
from sslx.rng import host_stream
from sslx.types import Encoder, Params


def untrained(
    encoder: Encoder, key: jax.Array, images: np.ndarray, *, mean, std
) -> Params:
    """Initial weights, with BatchNorm statistics from one pass over ``images``.

    The statistics are the mean of the batches' own, each layer normalised by its
    batch: without them an untrained network passes on features of the wrong scale.

    Args:
        encoder: The trunk.
        key: Of the initial weights.
        images: uint8 (n, h, w, c).
        mean: Normalisation, per channel.
        std: Likewise.

    Returns:
        ``{"encoder": {"params", "stats"}}``.
    """
    params, stats = encoder.init(key, jnp.zeros((1, *images.shape[1:]), jnp.float32))
    zero = jax.tree.map(jnp.zeros_like, stats)

    @jax.jit
    def batch_stats(images):
        x = normalise(images.astype(jnp.float32) / 255, mean, std)
        moved = encoder.apply(params, zero, x, True)[1]
        return jax.tree.map(lambda s: s / (1 - STATS_DECAY), moved)

    # Whole batches only (one program), in random order: a set sorted by class would
    # give batches that are less varied than the set.
    size = min(EMBED_BATCH, len(images))
    order = host_stream(0, "calibration").permutation(len(images))
    count = len(images) // size
    total = zero
    for i in range(count):
        batch = images[order[i * size : (i + 1) * size]]
        total = jax.tree.map(jnp.add, total, batch_stats(batch))
    stats = jax.tree.map(lambda s: s / count, total)
    return {"encoder": {"params": params, "stats": stats}}


def embed_untrained(
    meta: dict[str, Any], key: jax.Array, images: np.ndarray, *, mean, std
) -> Callable[[np.ndarray], np.ndarray]:
    """``embed`` of an untrained encoder, with the statistics of ``untrained``.

    Args:
        meta: ``Encoder.meta``.
        key: As the three others: see ``untrained``.
        images: uint8 (n, h, w, c), of the shape that ``embed`` takes.
        mean: Normalisation, per channel.
        std: Likewise.
    """
    encoder = make_encoder(meta["name"], **meta["kw"])
    variables = untrained(encoder, key, images, mean=mean, std=std)
    shape = images.shape[1:]
    return embedder(meta, variables, image_shape=shape, mean=mean, std=std)
