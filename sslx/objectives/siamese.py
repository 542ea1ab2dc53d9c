"""What most methods share: a trunk and a projector that every view goes through."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sslx.models.heads import make_mlp
from sslx.types import Encoder, Metrics, Objective, Out, Params

Views = Callable[[Array, Array], Array]  # (key, images) -> (b, v, h, w, c)


class Siamese(NamedTuple):
    """A trunk with a projector on it.

    Attributes:
        init: ``(key, images) -> (params, stats)`` with the entries "encoder" and
            "projector" (in ``stats`` only where the projector has any).
        apply: ``(params, stats, view) -> (z, stats)`` of one view (b, h, w, c) by the
            batch's own statistics; z is (b, d). Entries other than those two are
            neither needed nor returned.
        head: What ``Objective.head`` holds.
    """

    init: Callable[[Array, Array], tuple[Params, Params]]
    apply: Callable[[Params, Params, Array], tuple[Array, Params]]
    head: dict[str, Any]


def make_siamese(
    encoder: Encoder,
    views: Views,
    widths: Sequence[int],
    *,
    dtype: str,
    norm: str = "none",
    bias: bool = True,
) -> Siamese:
    """Builds it.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, v, h, w, c)``; gives the shapes for ``init``.
        widths: Of the projector's layers; 0: as wide as the features.
        dtype: In which the projector computes.
        norm: Of the projector, as ``make_mlp`` has it.
        bias: Likewise.
    """
    meta: dict[str, Any] = {
        "widths": [width or encoder.dim for width in widths],
        "dtype": dtype,
        "norm": norm,
        "bias": bias,
    }
    head_init, head_apply = make_mlp(**meta)

    def init(key, images):
        trunk_key, head_key, view_key = jax.random.split(key, 3)
        params, stats = encoder.init(trunk_key, views(view_key, images)[:, 0])
        head, head_stats = head_init(head_key, jnp.zeros((1, encoder.dim)))
        stats = {"encoder": stats}
        if head_stats:
            stats["projector"] = head_stats
        return {"encoder": params, "projector": head}, stats

    def apply(params, stats, view):
        y, moved = encoder.apply(params["encoder"], stats["encoder"], view, True)
        old = stats.get("projector", {})
        z, head_stats = head_apply(params["projector"], old, y, True)
        moved = {"encoder": moved}
        if head_stats:
            moved["projector"] = head_stats
        return z, moved

    return Siamese(init, apply, meta)


def each_view(apply, stats: Params, views: Array) -> tuple[list, Params]:
    """One pass for each view, as the published code of most methods has it.

    Each view is normalised by its own batch statistics, those of all b images; the
    running ones move once a view. Views are batch-major, so that a slice of one view
    leaves every device its own images.

    Args:
        apply: ``(stats, view) -> (out, stats)``.
        stats: Before the first pass.
        views: (b, v, h, w, c).

    Returns:
        The v outs, and the statistics after the last pass.
    """
    outs = []
    for i in range(views.shape[1]):
        out, stats = apply(stats, views[:, i])
        outs.append(out)
    return outs, stats


def between_two_views(
    net: Siamese,
    views: Views,
    loss_fn: Callable[[Array, Array], tuple[Array, Metrics]],
) -> Objective:
    """The method of a loss ``(z1, z2) -> (scalar, metrics)`` of two projections (b, d).

    One pass a view; nothing is carried from step to step.
    """

    def init(key, batch):
        return *net.init(key, batch["images"]), {}

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            return net.apply(params, stats, view)

        (z1, z2), stats = each_view(branch, stats, views(key, batch["images"]))
        value, metrics = loss_fn(z1, z2)
        return value, Out(stats, extras, metrics)

    return Objective(init, loss, unchanged, net.head, ("images",), 2)


def unchanged(params: Params, stats: Params, extras: Params, step: Array) -> Params:
    """``Objective.after`` of a method that carries nothing from step to step."""
    return extras
