"""SimSiam (Chen and He 2021): each view's prediction is near the other's projection."""

import jax
import jax.numpy as jnp

from sslx.losses import cosine
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, each_view, make_siamese, unchanged
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out, Task


@traits(may_be_0=("hidden",))
def simsiam(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    hidden: int,
    projection: int,
    predictor: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    L = D(p1, z2) / 2 + D(p2, z1) / 2 with D minus the mean cosine and z a constant
    (equations 1 to 4), in [-1, 1]. One pass a view. The projector has three layers,
    all with BatchNorm, the last without scale and shift; the predictor two with a
    bottleneck.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation.
        hidden: Width of the projector's hidden layers; 0: as wide as the features.
        projection: Width of the projector's and the predictor's output.
        predictor: Width of the predictor's hidden layer.
    """
    dtype = task.dtype
    net = make_siamese(
        encoder, views, (hidden, hidden, projection), dtype=dtype, norm="all"
    )
    guess_init, guess = make_mlp((predictor, projection), dtype=dtype, norm="hidden")

    def init(key, batch):
        net_key, guess_key = jax.random.split(key)
        params, stats = net.init(net_key, batch["images"])
        p, s = guess_init(guess_key, jnp.zeros((1, projection)))
        return params | {"predictor": p}, stats | {"predictor": s}, {}

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            z, moved = net.apply(params, stats, view)
            p, s = guess(params["predictor"], stats["predictor"], z, True)
            return (jax.lax.stop_gradient(z), p), moved | {"predictor": s}

        outs, stats = each_view(branch, stats, views(key, batch["images"]))
        (z1, p1), (z2, p2) = outs
        value = (cosine(p1, z2)[0] + cosine(p2, z1)[0]) / 2
        return value, Out(stats, extras, {})

    return Objective(init, loss, unchanged, net.head, ("images",), 2)
