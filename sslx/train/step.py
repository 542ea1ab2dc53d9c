"""One update of any objective, and several of them in one dispatch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from sslx.rng import stream
from sslx.train.mesh import replicated, split_rows
from sslx.types import Metrics, Objective, Params


class State(NamedTuple):
    """All that a training run carries from step to step; arrays only."""

    step: Any  # updates done, int32 scalar
    params: Params
    stats: Params
    extras: Params
    opt: Any


def init_state(
    objective: Objective,
    optimiser: optax.GradientTransformation,
    seed: int | Array,
    batch: Any,
) -> State:
    """The state before the first step; the batch gives the shapes."""
    params, stats, extras = objective.init(stream(seed, "init"), batch)
    return State(
        jnp.zeros((), jnp.int32), params, stats, extras, optimiser.init(params)
    )


def make_update(
    objective: Objective, optimiser: optax.GradientTransformation, schedule
):
    """Returns ``update(state, seed, batch) -> (state, metrics)``, to be jitted.

    The seed is an argument so that trainings which differ in it alone are one program,
    compiled once. Metrics are scalars: ``loss``, ``grad_norm`` (global L2),
    ``learning_rate`` and the objective's own.
    """

    def update(state: State, seed: int | Array, batch: Any) -> tuple[State, Metrics]:
        def loss(params):
            key = stream(seed, "step", state.step)
            return objective.loss(params, state.stats, state.extras, batch, key)

        (value, out), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, opt = optimiser.update(grads, state.opt, state.params)
        params = optax.apply_updates(state.params, updates)
        extras = objective.after(params, out.stats, out.extras, state.step)
        metrics = {
            "loss": value,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            **out.metrics,
        }
        return State(state.step + 1, params, out.stats, extras, opt), metrics

    return update


def make_dispatch(update, mesh: Mesh):
    """Jits ``update`` for k steps at once, over data that lies on the devices.

    Returns ``dispatch(state, seed, data, rows) -> (state, metrics)``: ``data`` is a
    dict of arrays (n, ...), ``rows`` int (k, b) says which rows make each step's batch,
    each metric is (k,). A single step is not scanned: inside a loop, XLA's CPU backend
    computes the backward pass of a convolution 12 to 45 times slower.
    """
    batch_split = split_rows(mesh)

    def dispatch(state: State, seed: Array, data: dict[str, Array], rows: Array):
        def one(state: State, rows: Array):
            batch = {name: array[rows] for name, array in data.items()}
            batch = jax.lax.with_sharding_constraint(batch, batch_split)
            return update(state, seed, batch)

        if rows.shape[0] == 1:
            state, metrics = one(state, rows[0])
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(one, state, rows)

    whole = replicated(mesh)
    return jax.jit(
        dispatch,
        donate_argnums=0,
        in_shardings=(whole, whole, whole, split_rows(mesh, axis=1)),
        out_shardings=(whole, whole),
    )


def make_step(update, mesh: Mesh):
    """Jits ``update`` for a batch that the host sends: ``step(state, seed, batch)``."""
    whole = replicated(mesh)
    return jax.jit(
        update,
        donate_argnums=0,
        in_shardings=(whole, whole, split_rows(mesh)),
        out_shardings=(whole, whole),
    )
