"""Several trainings as one program: what each of them is, how they begin and step.

Each device takes its share of them, without a word to the others, and ``vmap`` makes
one program of those that share a device.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from sslx.rng import rows_at
from sslx.train import checkpoint
from sslx.train.fit import Loop
from sslx.train.mesh import on_cpu, replicated, split_rows
from sslx.train.step import State, init_state, make_update
from sslx.types import Objective


class Member(NamedTuple):
    """What is one training's own.

    Attributes:
        seed: As ``Training.seed``, from 0 to below 2**32.
        own: Floats and arrays for ``Group.build``; in form, shapes and types the same
            in the whole group.
        data: As ``Training.data``; n may differ. Arrays that members share (the same
            objects) lie in an accelerator's memory once.
    """

    seed: int
    own: Any
    data: dict[str, np.ndarray]


class Group(NamedTuple):
    """Trainings of one length and batch size.

    Attributes:
        build: ``own -> (objective, optimiser, schedule)``, as ``Training`` has them;
            called with traced arrays, and the same in all but these.
        members: In an order that must not change from one process to the next. None:
            one that is finished; its place stays taken, so that the others' program
            and rounding stay what they were.
        steps: Updates in all.
        batch_size: Rows of a batch; no more than any member's n.
    """

    build: Callable[[Any], tuple[Objective, optax.GradientTransformation, Any]]
    members: Sequence[Member | None]
    steps: int
    batch_size: int


def _spread(f, mesh, size: int):
    """``f`` of one member's arguments to that of all a device has, led by their axis.

    One a device: without ``vmap``, which would make grouped convolutions of plain ones.
    """
    if size > mesh.size:
        return jax.vmap(f)

    def alone(*args):
        out = f(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: x[None], out)

    return alone


def _over(mesh, f, specs, out_specs, **jit):
    """Jits ``f``, which every device calls on its part of the arguments."""
    # Nothing is said between devices, so there is nothing to be checked.
    local = jax.shard_map(
        f, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False
    )
    return jax.jit(local, **jit)


def _stacked(trees: Sequence[Any], mesh) -> Any:
    """The trees' leaves led by an axis of members, which is split over the devices."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    return jax.device_put(stacked, split_rows(mesh))


def _seeds(slots: Sequence[Member], mesh) -> jax.Array:
    return _stacked([np.uint32(m.seed) for m in slots], mesh)


def _table(slots: Sequence[Member], name: str) -> tuple[np.ndarray, list[int]]:
    """An entry of all members' data, each array once, and where each one's begins."""
    starts: dict[int, int] = {}
    arrays, n = [], 0
    for member in slots:
        array = member.data[name]
        if id(array) not in starts:
            starts[id(array)] = n
            arrays.append(array)
            n += len(array)
    return np.concatenate(arrays), [starts[id(m.data[name])] for m in slots]


def make_advance(group: Group, slots: Sequence[Member], loop: Loop, mesh):
    """Returns ``advance(state, steps) -> (state, metrics)`` and the most steps at once.

    ``steps`` is a range, each metric an array (steps, members).
    """
    seeds, own = _seeds(slots, mesh), _stacked([m.own for m in slots], mesh)
    mine, whole = PartitionSpec("data"), PartitionSpec()
    across = PartitionSpec(None, "data")
    sizes = [len(next(iter(m.data.values()))) for m in slots]

    def update(state, seed, own, batch):
        return make_update(*group.build(own))(state, seed, batch)

    def rows(step):
        return [
            rows_at(m.seed, n, group.batch_size, step)
            for m, n in zip(slots, sizes, strict=True)
        ]

    if on_cpu() or not loop.data_on_device:
        step_once = _over(
            mesh, _spread(update, mesh, len(slots)), mine, mine, donate_argnums=0
        )

        def from_host(state, steps):
            batches = [
                {name: array[chosen] for name, array in m.data.items()}
                for m, chosen in zip(slots, rows(steps[0]), strict=True)
            ]
            state, metrics = step_once(state, seeds, own, _stacked(batches, mesh))
            return state, jax.tree.map(lambda x: x[None], metrics)

        return from_host, 1

    tables = {name: _table(slots, name) for name in slots[0].data}
    data = {name: table for name, (table, _) in tables.items()}
    data = jax.device_put(data, replicated(mesh))
    first = {name: np.asarray(starts, np.int32) for name, (_, starts) in tables.items()}
    first = jax.device_put(first, split_rows(mesh))

    def dispatch(state, rows, seeds, own, first, data):
        def one(state, seed, own, first, rows):
            batch = {name: array[first[name] + rows] for name, array in data.items()}
            return update(state, seed, own, batch)

        each = _spread(one, mesh, len(slots))
        return jax.lax.scan(lambda s, r: each(s, seeds, own, first, r), state, rows)

    specs = (mine, across, mine, mine, mine, whole)
    several = _over(mesh, dispatch, specs, (mine, across), donate_argnums=0)
    split = NamedSharding(mesh, across)

    def on_device(state, steps):
        chosen = np.asarray([rows(s) for s in steps], np.int32)
        return several(state, jax.device_put(chosen, split), seeds, own, first, data)

    return on_device, loop.steps_per_dispatch


def start(group: Group, slots: Sequence[Member], folders, step: int, mesh) -> State:
    """The states that the folders hold of a step, else the initial ones."""

    def init(seed, own, batch):
        objective, optimiser, _ = group.build(own)
        return init_state(objective, optimiser, seed, batch)

    def example(member):
        return {k: v[: group.batch_size] for k, v in member.data.items()}

    if step:
        m = slots[0]
        like = jax.eval_shape(init, np.uint32(m.seed), m.own, example(m))
        found = {f: checkpoint.load(f, "state", like) for f in dict.fromkeys(folders)}
        return _stacked([jax.device_get(found[f]) for f in folders], mesh)
    own, batch = ([m.own for m in slots], [example(m) for m in slots])
    mine = PartitionSpec("data")
    begin = _over(mesh, _spread(init, mesh, len(slots)), mine, mine)
    return begin(_seeds(slots, mesh), _stacked(own, mesh), _stacked(batch, mesh))
