"""Optimisers by name, all on a linear warm-up followed by a cosine to zero."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sslx.registry import keywords, pick
from sslx.types import Params

Schedule = Callable[..., Any]


def matrices(params: Params) -> Params:
    """True where a leaf has more than one axis: no bias, no scale of a norm."""
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def _decayed(decay_vectors: bool):
    return True if decay_vectors else matrices


def _coupled(weight_decay, decay_vectors):
    return optax.add_decayed_weights(weight_decay, _decayed(decay_vectors))


def _adam(rate, *, weight_decay, decay_vectors):
    # PyTorch's Adam: the decay is part of the gradient, hence of the moments.
    return optax.chain(_coupled(weight_decay, decay_vectors), optax.adam(rate))


def _adamw(rate, *, weight_decay, decay_vectors):
    mask = _decayed(decay_vectors)
    return optax.adamw(rate, weight_decay=weight_decay, mask=mask)


def _sgd(rate, *, weight_decay, decay_vectors, momentum):
    # PyTorch's SGD: decay in the gradient, momentum without dampening.
    return optax.chain(_coupled(weight_decay, decay_vectors), optax.sgd(rate, momentum))


def _lars(rate, *, weight_decay, momentum, trust_coefficient):
    # You et al. 2017 as SimCLR, BYOL and Barlow Twins use it.
    return optax.lars(
        rate,
        weight_decay=weight_decay,
        weight_decay_mask=matrices,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=matrices,
        momentum=momentum,
    )


def _larc(rate, *, weight_decay, momentum, trust_coefficient):
    # LARS with a ceiling: a layer's own rate is trust_coefficient * |p| / (|g| + decay
    # * |p|), but no more than the schedule's; then PyTorch's SGD. solo-learn's "lars"
    # with clip_lr, on which its CIFAR recipes train.
    trust = _clipped_trust(rate, weight_decay, trust_coefficient)
    return optax.chain(optax.masked(trust, matrices), optax.sgd(rate, momentum))


def _clipped_trust(
    schedule: Schedule, weight_decay: float, trust_coefficient: float
) -> optax.GradientTransformation:
    """Decay and LARC's factor, min(own rate / schedule's rate, 1), on every leaf."""

    def init(params):
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        rate = schedule(state.count)

        def scale(g, p):
            size, slope = jnp.linalg.norm(p.ravel()), jnp.linalg.norm(g.ravel())
            own = trust_coefficient * size / (slope + weight_decay * size + 1e-8)
            # min(own / rate, 1), also where the rate is 0.
            factor = jnp.where(own < rate, own / jnp.where(rate > 0, rate, 1), 1)
            scaled = factor.astype(g.dtype) * (g + weight_decay * p)
            return jnp.where((size > 0) & (slope > 0), scaled, g)

        count = optax.safe_increment(state.count)
        return jax.tree.map(scale, updates, params), state._replace(count=count)

    return optax.GradientTransformation(init, update)


# name -> ``(schedule, *, weight_decay, ...) -> transformation``; the further keywords
# are those of ``make_optimiser``'s last three numbers that it takes.
OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": _adam,
    "adamw": _adamw,
    "larc": _larc,
    "lars": _lars,
    "sgd": _sgd,
}


def make_optimiser(
    name: str,
    *,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    steps: int,
    momentum: float = 0.0,
    trust_coefficient: float = 0.0,
    decay_vectors: bool = True,
) -> tuple[optax.GradientTransformation, Schedule]:
    """Builds an optimiser and the schedule it follows.

    Args:
        name: One of ``OPTIMISERS``; the last three numbers below it ignores where its
            entry does not take them.
        learning_rate: Peak rate.
        weight_decay: Coupled (part of the gradient) but for adamw.
        warmup_steps: Updates over which the rate rises from zero; 0 for none.
        steps: Updates in all; the rate is zero after them.
        momentum: Of larc, lars and sgd.
        trust_coefficient: Of larc and lars: size of a layer's step relative to its
            weights at a rate of 1 (lars), or at most (larc).
        decay_vectors: Whether leaves of one axis (biases, scales of norms) decay too;
            with larc and lars they never do, and take SGD's steps.

    Raises:
        UserError: Unknown name.
    """
    build = pick(OPTIMISERS, name, "optimiser")
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup_steps, max(steps, warmup_steps + 1)
    )
    numbers = {
        "weight_decay": weight_decay,
        "momentum": momentum,
        "trust_coefficient": trust_coefficient,
        "decay_vectors": decay_vectors,
    }
    own = {key: numbers[key] for key in keywords(build)}
    return build(schedule, **own), schedule
