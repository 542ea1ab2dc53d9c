"""SimCLR (Chen et al. 2020): two views of an image agree, against all other images."""

from sslx.losses import infonce
from sslx.objectives.siamese import Views, make_siamese, unchanged
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out, Task


@traits(may_be_0=("hidden",))
def simclr(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    temperature: float,
    hidden: int,
    projection: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    Both views go through the network in one batch and share its statistics, as in the
    paper.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation.
        temperature: Of NT-Xent, > 0.
        hidden: Width of the projector's hidden layer; 0: as wide as the features.
        projection: Width of the projector's output, on which the loss is computed.
    """
    net = make_siamese(encoder, views, (hidden, projection), dtype=task.dtype)

    def init(key, batch):
        return *net.init(key, batch["images"]), {}

    def loss(params, stats, extras, batch, key):
        pair = views(key, batch["images"])
        # Batch-major, (b, v, ...): the sharded axis leads.
        flat = pair.reshape(-1, *pair.shape[2:])
        z, stats = net.apply(params, stats, flat)
        z = z.reshape(*pair.shape[:2], -1)  # (b, v, d)
        value, metrics = infonce(z[:, 0], z[:, 1], temperature=temperature)
        return value, Out(stats, extras, metrics)

    return Objective(init, loss, unchanged, net.head, ("images",), 2)
