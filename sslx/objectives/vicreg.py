"""VICReg (Bardes et al. 2022): views agree, features vary and do not covary."""

from functools import partial

from sslx.losses import vicreg as vicreg_loss
from sslx.objectives.siamese import Views, between_two_views, make_siamese
from sslx.registry import traits
from sslx.types import Encoder, Objective, Task


@traits(may_be_0=("invariance", "variance", "covariance", "hidden"))
def vicreg(
    encoder: Encoder,
    views: Views,
    task: Task,
    *,
    invariance: float,
    variance: float,
    covariance: float,
    hidden: int,
    projection: int,
) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c)}``, b > 1.

    ``sslx.losses.vicreg``. One pass a view. The projector (the paper's expander) has
    three layers without bias, the hidden ones with BatchNorm.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 2, h, w, c)``.
        task: Type of the computation.
        invariance: Weight of the distance between views, lambda in the paper.
        variance: Weight of the hinge on standard deviations, mu.
        covariance: Weight of the covariances, nu.
        hidden: Width of the projector's hidden layers; 0: as wide as the features.
        projection: Width of the projector's output.
    """
    widths = (hidden, hidden, projection)
    net = make_siamese(
        encoder, views, widths, dtype=task.dtype, norm="hidden", bias=False
    )

    loss = partial(
        vicreg_loss, invariance=invariance, variance=variance, covariance=covariance
    )
    return between_two_views(net, views, loss)
