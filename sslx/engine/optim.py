"""Optimisers by name, all on a linear warm-up followed by a cosine to zero."""

from collections.abc import Callable

import optax

from sslx.registry import pick

Schedule = Callable[..., float]


def _adam(rate, *, weight_decay, momentum):
    # PyTorch's Adam: the decay is part of the gradient, hence of the moments.
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(rate))


def _adamw(rate, *, weight_decay, momentum):
    return optax.adamw(rate, weight_decay=weight_decay)


def _sgd(rate, *, weight_decay, momentum):
    # PyTorch's SGD: decay in the gradient, momentum without dampening.
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum)
    )


OPTIMISERS = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}


def make_optimiser(
    name: str,
    *,
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    warmup_steps: int,
    steps: int,
) -> tuple[optax.GradientTransformation, Schedule]:
    """Builds an optimiser and the schedule it follows.

    Args:
        name: One of ``OPTIMISERS``.
        learning_rate: Peak rate.
        weight_decay: On all parameters; coupled for adam and sgd, decoupled for adamw.
        momentum: Of sgd; the others ignore it.
        warmup_steps: Updates over which the rate rises from zero; 0 for none.
        steps: Updates in all; the rate is zero after them.

    Raises:
        UserError: Unknown name.
    """
    build = pick(OPTIMISERS, name, "optimiser")
    cosine = optax.cosine_decay_schedule(learning_rate, max(steps - warmup_steps, 1))
    if warmup_steps:
        rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
        schedule = optax.join_schedules([rise, cosine], [warmup_steps])
    else:
        schedule = cosine
    return build(schedule, weight_decay=weight_decay, momentum=momentum), schedule
