"""SimCLR (Chen et al. 2020): two views of an image agree, against all other images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from sslx.losses import infonce
from sslx.models.heads import make_mlp
from sslx.types import Encoder, Objective, Out


def simclr(
    encoder: Encoder,
    view: Callable[[Array, Array], Array],
    *,
    temperature: float,
    hidden: int,
    projection: int,
    dtype: str,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    Args:
        encoder: The trunk.
        view: ``(key, images) -> views``, one random view of each image.
        temperature: Of NT-Xent, > 0.
        hidden: Width of the projector's hidden layer; 0: as wide as the features.
        projection: Width of the projector's output, on which the loss is computed.
        dtype: In which the projector computes.
    """
    widths = (hidden or encoder.dim, projection)
    head_init, head_apply = make_mlp(widths, dtype=dtype)

    def init(key, batch):
        trunk_key, head_key, view_key = jax.random.split(key, 3)
        params, stats = encoder.init(trunk_key, view(view_key, batch["images"]))
        head, _ = head_init(head_key, jnp.zeros((1, encoder.dim)))
        return {"encoder": params, "projector": head}, {"encoder": stats}, {}

    def loss(params, stats, extras, batch, key):
        images = batch["images"]
        views = jnp.stack([view(k, images) for k in jax.random.split(key)], axis=1)
        # Batch-major, (b, v, ...): the sharded axis leads, and one forward pass sees
        # both views, so that they share the batch statistics as in the paper.
        flat = views.reshape(-1, *views.shape[2:])
        features, trunk = encoder.apply(params["encoder"], stats["encoder"], flat, True)
        z, _ = head_apply(params["projector"], {}, features, True)
        z = z.reshape(*views.shape[:2], -1)  # (b, v, d)
        value, metrics = infonce(z[:, 0], z[:, 1], temperature=temperature)
        return value, Out({"encoder": trunk}, extras, metrics)

    def after(params, stats, extras, step):
        return extras

    return Objective(init, loss, after, {"widths": list(widths), "dtype": dtype})
