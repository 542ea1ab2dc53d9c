"""Passes of many images through an encoder, in batches of one compiled size.

And what they need of an encoder that nobody has trained.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.models.linen import STATS_DECAY
from sslx.models.preprocess import normalise
from sslx.progress import progress
from sslx.rng import host_stream
from sslx.train.mesh import local_mesh, replicated, split_rows
from sslx.types import Encoder, Params, refuse_if

# Rows of one forward pass; fewer are padded, so that there is one program to compile.
EMBED_BATCH = 256


# Batches on the way when one is fetched: an accelerator has work while the host copies.
AHEAD = 2


def check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises a UserError unless images are uint8 (n, *shape) with n at least 1."""
    found = np.shape(images)
    kind = getattr(images, "dtype", type(images).__name__)
    refuse_if(
        kind != np.uint8 or found[1:] != shape or found[0] < 1,
        f"images must be a uint8 array of shape (n, {', '.join(map(str, shape))}), "
        f"not {kind} {found}",
    )


def make_forward(
    encoder: dict[str, Any],
    head: dict[str, Any] | None,
    mean: Sequence[float],
    std: Sequence[float],
):
    """Jits ``(variables, uint8 images of a batch) -> features``, once for each network.

    Args:
        encoder: ``Encoder.meta``.
        head: Keywords of ``make_mlp`` of a projection head to put on top, or None.
        mean: Normalisation, per channel.
        std: Likewise.
    """
    return _forward(json.dumps([encoder, head, list(mean), list(std)]))


@lru_cache(maxsize=64)  # a study asks for the same few networks again and again
def _forward(what: str):
    meta, head, mean, std = json.loads(what)
    encoder = make_encoder(meta["name"], **meta["kw"])
    project = make_mlp(**head)[1] if head else None

    def forward(variables, images):
        # Images are uint8, or float32 where a gradient is taken.
        x = normalise(images.astype(jnp.float32) / 255, mean, std)
        params, stats = variables["encoder"]["params"], variables["encoder"]["stats"]
        features, _ = encoder.apply(params, stats, x, False)
        if project is not None:
            params, stats = variables["head"]["params"], variables["head"]["stats"]
            features, _ = project(params, stats, features, False)
        return features

    return jax.jit(forward)


def in_batches(
    forward: Callable[..., jax.Array], variables: Params, images: np.ndarray
) -> np.ndarray:
    """``forward(variables, batch)`` of uint8 images (n, h, w, c), as float32.

    ``EMBED_BATCH`` at a time, each spread over this process's own devices.
    """
    # Placed by hand: with several processes, a jitted function splits no numpy array.
    mesh = local_mesh(EMBED_BATCH)
    variables = jax.device_put(variables, replicated(mesh))
    parts: list[np.ndarray] = []
    ahead: deque[jax.Array] = deque()
    with progress(len(images), 0, "features", "image") as bar:
        for start in range(0, len(images), EMBED_BATCH):
            chunk = images[start : start + EMBED_BATCH]
            short = EMBED_BATCH - len(chunk)
            padded = np.pad(chunk, [(0, short), *[(0, 0)] * (images.ndim - 1)])
            placed = jax.device_put(padded, split_rows(mesh))
            ahead.append(forward(variables, placed))
            if len(ahead) > AHEAD:
                parts.append(np.asarray(ahead.popleft()))
                bar.update(EMBED_BATCH)
    parts += map(np.asarray, ahead)
    return np.concatenate(parts)[: len(images)].astype(np.float32)


def embedder(
    encoder: dict[str, Any], variables: Params, *, image_shape, mean, std, head=None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns ``embed(uint8 NHWC) -> float32 (n, d)``, statistics as they are.

    Args:
        encoder: As the three below: see ``make_forward``.
        variables: ``{"encoder": {"params", "stats"}, "head": {"params", "stats"}}``.
        image_shape: (h, w, c) that ``embed`` takes.
        mean: Normalisation, per channel.
        std: Likewise.
        head: Of the projection head, or None.
    """
    forward = make_forward(encoder, head, mean, std)

    def embed(images: np.ndarray) -> np.ndarray:
        check_images(images, image_shape)
        return in_batches(forward, variables, images)

    return embed


def gradienter(
    encoder: dict[str, Any], variables: Params, *, image_shape, mean, std, head=None
) -> Callable[[Callable, np.ndarray], np.ndarray]:
    """Returns ``gradient(score, uint8 NHWC) -> float32 NHWC``, as ``embedder`` embeds.

    ``score`` is a JAX function of one answer, (d,) -> (); what is given is how the
    score of each image's own answer changes with its pixels, in 0..255.
    """
    forward = make_forward(encoder, head, mean, std)

    def gradient(score: Callable, images: np.ndarray) -> np.ndarray:
        check_images(images, image_shape)
        return in_batches(_backward(forward, score), variables, images)

    return gradient


@lru_cache(maxsize=64)
def _backward(forward: Callable[..., jax.Array], score: Callable):
    # An image's answer is its own: the sum of scores has each one's gradient.
    def total(images, variables):
        return jax.vmap(score)(forward(variables, images)).sum()

    def backward(variables, images):
        return jax.grad(total)(images.astype(jnp.float32), variables)

    return jax.jit(backward)


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
    meta: dict[str, Any],
    key: jax.Array,
    images: np.ndarray,
    *,
    mean,
    std,
    initial: bool = False,
) -> Callable[[np.ndarray], np.ndarray]:
    """``embed`` of an untrained encoder, with the statistics of ``untrained``.

    Args:
        meta: ``Encoder.meta``.
        key: As the three others: see ``untrained``.
        images: uint8 (n, h, w, c), of the shape that ``embed`` takes.
        mean: Normalisation, per channel.
        std: Likewise.
        initial: Whether the statistics are those that it begins with instead, mean 0
            and variance 1: some networks say more with them.
    """
    encoder = make_encoder(meta["name"], **meta["kw"])
    if initial:
        blank = jnp.zeros((1, *images.shape[1:]), jnp.float32)
        params, stats = encoder.init(key, blank)
        variables: Params = {"encoder": {"params": params, "stats": stats}}
    else:
        variables = untrained(encoder, key, images, mean=mean, std=std)
    shape = images.shape[1:]
    return embedder(meta, variables, image_shape=shape, mean=mean, std=std)
