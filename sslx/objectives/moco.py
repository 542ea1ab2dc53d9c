"""MoCo v2+ (He et al. 2020; Chen et al. 2020): a view against a queue of old keys.

v2+ and not v3, for the queue is what sets MoCo apart: many negatives with a small
batch, which is what one device has. v3 is SimCLR's loss with BYOL's networks.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp
from jaxtyping import Float

from sslx.losses.contrastive import unit
from sslx.objectives.moving import (
    move_target,
    rising_decay,
    start_target,
    target_projections,
)
from sslx.objectives.siamese import Views, each_view, make_siamese
from sslx.registry import traits
from sslx.types import Encoder, Metrics, Objective, Out, Task


def queue_infonce(
    query: Float[Array, "b d"],
    positive: Float[Array, "b d"],
    negatives: Float[Array, "n d"],
    *,
    temperature: float,
) -> tuple[Float[Array, ""], Metrics]:
    """InfoNCE of MoCo (He et al. 2020, equation 1): mean over b queries.

    All rows are of unit length; n negatives shared by all queries. All rows equal:
    log(n + 1).

    Metrics: ``top1``, the fraction of queries that are closest to their positive.
    """
    near = jnp.sum(query * positive, axis=1, keepdims=True) / temperature
    # At an accelerator's default precision the temperature would magnify the error.
    exact = jax.lax.Precision.HIGHEST
    far = jnp.matmul(query, negatives.T, precision=exact) / temperature
    logits = jnp.concatenate([near, far], axis=1)  # (b, 1 + n)
    loss = jnp.mean(logsumexp(logits, axis=1) - near[:, 0])
    return loss, {"top1": jnp.mean(near[:, 0] > jnp.max(far, axis=1))}


def enqueue(
    queue: Float[Array, "v n d"], keys: Float[Array, "v b d"], position: Array
) -> tuple[Float[Array, "v n d"], Array]:
    """Writes the keys over the oldest ones, from ``position`` on and round the end.

    Of more keys than the queue holds, the last ones stay.

    Returns:
        The queue and the position of its oldest keys.
    """
    size = queue.shape[1]
    keys = keys[:, -size:]
    places = (position + jnp.arange(keys.shape[1], dtype=jnp.int32)) % size
    return queue.at[:, places].set(keys), (position + keys.shape[1]) % size


@traits(may_be_0=("decay", "hidden"), at_most_1=("decay", "final_decay"))
def moco(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    temperature: float,
    decay: float,
    final_decay: float,
    queue: int,
    hidden: int,
    projection: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    The mean of ``queue_infonce`` in both directions (v2+ is v2 made symmetric, named
    in Chen and He 2021). Keys come from a moving average of trunk and projector,
    ``extras["target"]``; ``extras["queue"]`` (2, queue, projection) holds the keys of
    each view, those of the batch at hand only after its loss. One pass a view and
    network, normalised by the whole batch. Nothing is shuffled, where the paper
    shuffles so that a query and its key do not share statistics: over a whole batch
    they tell less, the larger it is.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation and number of updates.
        temperature: > 0.
        decay: Share of the old target kept at the first update.
        final_decay: The same at the last, half a cosine between; equal: constant.
        queue: Keys of a view that are kept.
        hidden: Width of the projector's hidden layer; 0: as wide as the features.
        projection: Width of the projector's output.
    """
    net = make_siamese(encoder, views, (hidden, projection), dtype=task.dtype)

    def init(key, batch):
        net_key, queue_key = jax.random.split(key)
        params, stats = net.init(net_key, batch["images"])
        noise = jax.random.normal(queue_key, (2, queue, projection), jnp.float32)
        extras = {
            "target": start_target(params, stats),
            "queue": jax.vmap(unit)(noise),
            "position": jnp.zeros((), jnp.int32),
        }
        return params, stats, extras

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            return net.apply(params, stats, view)

        pair = views(key, batch["images"])
        outs, stats = each_view(branch, stats, pair)
        q1, q2 = map(unit, outs)
        outs, target = target_projections(net, extras["target"], pair)
        k1, k2 = map(unit, outs)
        old1, old2 = jax.lax.stop_gradient(extras["queue"])
        one, there = queue_infonce(q1, k2, old2, temperature=temperature)
        two, back = queue_infonce(q2, k1, old1, temperature=temperature)
        keys = jnp.stack([k1, k2]).astype(extras["queue"].dtype)
        rows, position = enqueue(extras["queue"], keys, extras["position"])
        extras = {"target": target, "queue": rows, "position": position}
        metrics = jax.tree.map(lambda a, b: (a + b) / 2, there, back)
        return (one + two) / 2, Out(stats, extras, metrics)

    def after(params, stats, extras, step):
        kept = rising_decay(decay, final_decay, step, task.steps)
        return extras | {"target": move_target(extras["target"], params, kept)}

    return Objective(init, loss, after, net.head, ("images",), 2)
