"""Moving averages of the weights: the target networks of BYOL and MoCo."""

import jax
import jax.numpy as jnp
from jax import Array

from sslx.objectives.siamese import Siamese, each_view
from sslx.types import Params


def rising_decay(base: float, final: float, step: Array, steps: int) -> Array:
    """The decay after update ``step`` (0 is the first) of ``steps``.

    Half a cosine from ``base`` to ``final``, as in BYOL (Grill et al. 2020, section
    3.2: final 1).
    """
    progress = jnp.asarray(step, jnp.float32) / steps
    return final - (final - base) * (jnp.cos(jnp.pi * progress) + 1) / 2


def moved(target: Params, online: Params, decay: Array) -> Params:
    """``decay * target + (1 - decay) * online``, leaf by leaf."""

    def mix(old, new):
        d = jnp.asarray(decay, old.dtype)
        return d * old + (1 - d) * new

    return jax.tree.map(mix, target, online)


def start_target(params: Params, stats: Params) -> Params:
    """A target network that begins as the online one: ``{"params", "stats"}``."""
    names = ("encoder", "projector")
    parts = {
        kind: {name: tree[name] for name in names if name in tree}
        for kind, tree in (("params", params), ("stats", stats))
    }
    return jax.tree.map(jnp.copy, parts)


def target_projections(
    net: Siamese, target: Params, views: Array
) -> tuple[list[Array], Params]:
    """What the target network makes of each view, constants; and the target.

    It normalises by the batch's statistics, as the online network does, and keeps
    running statistics of its own.
    """
    target = jax.lax.stop_gradient(target)

    def apply(stats, view):
        return net.apply(target["params"], stats, view)

    outs, stats = each_view(apply, target["stats"], views)
    return outs, target | {"stats": stats}


def move_target(target: Params, params: Params, decay: Array) -> Params:
    """The target after an update of the online network: only its weights move."""
    online = {name: params[name] for name in target["params"]}
    return target | {"params": moved(target["params"], online, decay)}
