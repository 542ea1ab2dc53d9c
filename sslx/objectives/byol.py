"""BYOL (Grill et al. 2020): a view predicts what a slow copy makes of the other."""

from typing import Any

import jax
import jax.numpy as jnp

from sslx.losses import regression
from sslx.models.heads import make_mlp
from sslx.objectives.moving import (
    move_target,
    rising_decay,
    start_target,
    target_projections,
)
from sslx.objectives.siamese import Views, each_view, make_siamese
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out, Task


@traits(may_be_0=("decay", "hidden"), at_most_1=("decay",))
def byol(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    decay: float,
    hidden: int,
    projection: int,
    predictor: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    L = regression(p1, z2') + regression(p2, z1') (equation 2, both directions), in
    [0, 8]; z' comes from the target network, a moving average of trunk and projector
    that stands in ``extras["target"]`` and whose decay rises from ``decay`` to 1 over
    ``task.steps``. One pass a view and network. Projector and predictor have one
    hidden layer with BatchNorm and end without bias, as in the authors' code.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation and number of updates.
        decay: Share of the old target kept at the first update, below 1.
        hidden: Width of the projector's hidden layer; 0: as wide as the features.
        projection: Width of the projector's and the predictor's output.
        predictor: Width of the predictor's hidden layer.
    """
    head: dict[str, Any] = {"dtype": task.dtype, "norm": "hidden", "bias": False}
    net = make_siamese(encoder, views, (hidden, projection), **head)
    guess_init, guess = make_mlp((predictor, projection), **head)

    def init(key, batch):
        net_key, guess_key = jax.random.split(key)
        params, stats = net.init(net_key, batch["images"])
        p, s = guess_init(guess_key, jnp.zeros((1, projection)))
        extras = {"target": start_target(params, stats)}
        return params | {"predictor": p}, stats | {"predictor": s}, extras

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            z, moved = net.apply(params, stats, view)
            p, s = guess(params["predictor"], stats["predictor"], z, True)
            return p, moved | {"predictor": s}

        pair = views(key, batch["images"])
        (p1, p2), stats = each_view(branch, stats, pair)
        (z1, z2), target = target_projections(net, extras["target"], pair)
        value = regression(p1, z2)[0] + regression(p2, z1)[0]
        return value, Out(stats, {"target": target}, {})

    def after(params, stats, extras, step):
        tau = rising_decay(decay, 1.0, step, task.steps)
        return {"target": move_target(extras["target"], params, tau)}

    return Objective(init, loss, after, net.head, ("images",), 2)
