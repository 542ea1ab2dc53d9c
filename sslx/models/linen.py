"""From a linen module to pure functions: only here is ``Module.apply`` called."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sslx.types import Params

# Share of the old running statistics kept at each update (PyTorch's momentum 0.1).
STATS_DECAY = 0.9


def batch_norm(
    dtype: str, *, name: str, affine: bool = True, zero: bool = False
) -> nn.BatchNorm:
    """Batch normalisation as PyTorch has it (epsilon 1e-5, decay 0.9).

    Statistics are float32 whatever ``dtype`` the rest computes in. Unlike PyTorch's,
    the running variance is the biased one. Without ``affine`` nothing is learnt; with
    ``zero`` the scale starts at 0, not 1.
    """
    return nn.BatchNorm(
        momentum=STATS_DECAY,
        epsilon=1e-5,
        dtype=dtype,
        scale_init=nn.initializers.zeros if zero else nn.initializers.ones,
        use_scale=affine,
        use_bias=affine,
        name=name,
    )


def pool(x):
    """Mean over the image, (b, h, w, c) to (b, c), in float32 or wider."""
    return jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))


def pure(module: nn.Module):
    """Returns ``init`` and ``apply`` of a module called ``module(x, train)``.

    ``init(key, x) -> (params, stats)`` and ``apply(params, stats, x, train) ->
    (y, stats)``; ``stats`` is {} for a module without running statistics. The output
    is float32 or wider.
    """

    @jax.jit
    def init(key: Array, x: Array) -> tuple[Params, Params]:
        variables = module.init(key, x[:1], False)
        return variables["params"], variables.get("batch_stats", {})

    @partial(jax.jit, static_argnums=3, inline=True)
    def apply(params: Params, stats: Params, x: Array, train: bool):
        variables = {"params": params, "batch_stats": stats}
        y, moved = module.apply(variables, x, train, mutable=["batch_stats"])
        y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
        return y, moved.get("batch_stats", stats) if train else stats

    return init, apply
