"""Training on stored answers: the stealer's representations approach the victim's."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, unchanged
from sslx.types import Encoder, Metrics, Objective, Out


def distill(
    encoder: Encoder,
    views: Views,
    loss_fn: Callable[[Array, Array], tuple[Array, Metrics]],
    *,
    answer_dim: int,
    dtype: str,
) -> Objective:
    """The objective of direct extraction.

    A batch is ``{"images": uint8 (b, h, w, c), "answers": float32 (b, answer_dim)}``;
    answers are constants. Where the encoder's features are not as wide as the answers,
    a linear map that is thrown away afterwards brings them there.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, v, h, w, c)``; the stealer sees the first.
        loss_fn: ``(student, teacher) -> (scalar, metrics)``, numbers bound.
        answer_dim: Width of the answers.
        dtype: In which the linear map computes.
    """
    adapt = encoder.dim != answer_dim
    head_init, head_apply = make_mlp((answer_dim,), dtype=dtype)

    def init(key, batch):
        trunk_key, head_key, view_key = jax.random.split(key, 3)
        params, stats = encoder.init(trunk_key, views(view_key, batch["images"])[:, 0])
        head = {}
        if adapt:
            head = {"adapter": head_init(head_key, jnp.zeros((1, encoder.dim)))[0]}
        return {"encoder": params, **head}, {"encoder": stats}, {}

    def loss(params, stats, extras, batch, key):
        images = views(key, batch["images"])[:, 0]
        student, trunk = encoder.apply(
            params["encoder"], stats["encoder"], images, True
        )
        if adapt:
            student, _ = head_apply(params["adapter"], {}, student, True)
        value, metrics = loss_fn(student, jax.lax.stop_gradient(batch["answers"]))
        return value, Out({"encoder": trunk}, extras, metrics)

    return Objective(init, loss, unchanged, None, ("images", "answers"), 1)
