"""Barlow Twins (Zbontar et al. 2021): the views' features correlate one to one."""

from sslx.losses import barlow as barlow_loss
from sslx.objectives.siamese import Views, between_two_views, make_siamese
from sslx.registry import traits
from sslx.types import Encoder, Objective, Task


@traits(may_be_0=("off_diagonal", "hidden"))
def barlow(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    off_diagonal: float,
    scale: float,
    hidden: int,
    projection: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``.

    ``sslx.losses.barlow`` times ``scale``. One pass a view. The projector has three
    layers without bias, the hidden ones with BatchNorm.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation.
        off_diagonal: Weight of the redundancy term, lambda in the paper.
        scale: Of the whole loss, whose gradient grows with ``projection``; the
            learning rates of published recipes go with theirs.
        hidden: Width of the projector's hidden layers; 0: as wide as the features.
        projection: Width of the projector's output.
    """
    widths = (hidden, hidden, projection)
    net = make_siamese(
        encoder, views, widths, dtype=task.dtype, norm="hidden", bias=False
    )

    def loss(z1, z2):
        value, metrics = barlow_loss(z1, z2, off_diagonal=off_diagonal)
        return scale * value, metrics

    return between_two_views(net, views, loss)
