"""Several trainings at once, which differ in seed, numbers, weights and data only.

Each device takes its share of them, without a word to the others, and ``vmap`` makes
one program of those that share a device. A training comes out as it would by itself,
but for rounding, and leaves the same files.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from sslx.engine import checkpoint
from sslx.engine.fit import Loop, items_of, note
from sslx.engine.interrupt import Stopped, asked_to_stop
from sslx.engine.logbook import Logbook, open_logbook
from sslx.engine.mesh import member_mesh, on_cpu, replicated, split_rows
from sslx.engine.rng import rows_at
from sslx.engine.step import State, init_state, make_update
from sslx.progress import progress, say
from sslx.types import Objective, UserError


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


class Outcome(NamedTuple):
    """How a group ended.

    Attributes:
        states: After the last step, on the host; None of members that were finished
            before or failed.
        failed: Member -> what went wrong, where a loss or gradient was not finite.
    """

    states: list[State | None]
    failed: dict[int, str]


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
    """An entry of all members' data, each array once, and where each member's begins."""
    starts: dict[int, int] = {}
    arrays, n = [], 0
    for member in slots:
        array = member.data[name]
        if id(array) not in starts:
            starts[id(array)] = n
            arrays.append(array)
            n += len(array)
    return np.concatenate(arrays), [starts[id(m.data[name])] for m in slots]


def _stepper(group: Group, slots: Sequence[Member], loop: Loop, mesh):
    """Returns ``advance(state, steps) -> (state, metrics)`` and the most steps at once.

    ``steps`` is a range, each metric an array (steps, members).
    """
    seeds, own = _seeds(slots, mesh), _stacked([m.own for m in slots], mesh)
    mine, whole = PartitionSpec("data"), PartitionSpec()
    across = PartitionSpec(None, "data")
    sizes = [len(next(iter(m.data.values()))) for m in slots]

    def update(state, seed, own, batch):
        return make_update(*group.build(own), seed)(state, batch)

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
    first = {name: np.int32(starts) for name, (_, starts) in tables.items()}
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
        chosen = np.int32([rows(s) for s in steps])
        return several(state, jax.device_put(chosen, split), seeds, own, first, data)

    return on_device, loop.steps_per_dispatch


def _start(group: Group, slots: Sequence[Member], folders, step: int, mesh) -> State:
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
    return begin(_seeds(slots, mesh), *(_stacked(trees, mesh) for trees in (own, batch)))


def _go_back(runs: Sequence[Path]) -> int:
    """The last step that all runs have saved, else 0; what they saved later goes."""
    saved = [checkpoint.steps(run) for run in runs]
    step = max(set[int](saved[0]).intersection(*saved), default=0)
    for run, steps in zip(runs, saved, strict=True):
        later = [s for s in steps if s > step]
        if later:
            say(
                f"{run.parent.name}/{run.name} goes back from step {later[-1]} to "
                f"{step}, which all that train together have saved"
            )
        for s in later:
            shutil.rmtree(run / checkpoint.FOLDER / str(s))
    return step


def _note(
    books: dict[int, Logbook],
    failed: dict[int, str],
    steps: range,
    metrics: Any,
    total: int,
    loop: Loop,
) -> None:
    """Logs finished steps of all members that are sound; notes which are not."""
    metrics = jax.device_get(metrics)
    for i, book in books.items():
        if i in failed:
            continue
        own = {name: values[:, i] for name, values in metrics.items()}
        try:
            note(book, steps, own, total, loop)
        except UserError as error:
            failed[i] = str(error)


def _member(state: State, i: int) -> State:
    """A member's part of the stacked state, which is on the host."""
    return jax.tree.map(lambda x: np.array(x[i]), state)


def fit_together(group: Group, runs: Sequence[Path], loop: Loop) -> Outcome:
    """Trains all members to the last step, from the last one that all have saved.

    Each ends as ``fit`` would have it end, but for rounding, and with two checkpoints
    at least. A group that was killed and taken up, whichever members finished before,
    ends bit-equal to one that was not. On a CPU batches come from the host, a step a
    call; each device has one member, or several under ``vmap``.

    A member whose loss or gradient is not finite is saved no more, and the others go
    on: a rate too high for one must not cost a study the rest of its group.

    Args:
        group: The trainings.
        runs: Their run directories, which get what ``fit`` puts there; nothing in
            those of members that are None.
        loop: How to carry them out.

    Raises:
        UserError: A checkpoint cannot be read.
        Stopped: SIGTERM or SIGINT came; all states are saved.
    """
    live = {i: m for i, m in enumerate(group.members) if m is not None}
    states: list[State | None] = [None] * len(group.members)
    failed: dict[int, str] = {}
    if not live:
        return Outcome(states, failed)
    # A place without a member does what another one does.
    places = [i if i in live else next(iter(live)) for i in range(len(group.members))]
    slots = [live[i] for i in places]
    mesh = member_mesh(len(slots))
    advance, most = _stepper(group, slots, loop, mesh)
    step = _go_back([runs[i] for i in live])
    state = _start(group, slots, [runs[i] for i in places], step, mesh)
    with ExitStack() as stack:
        signal = stack.enter_context(asked_to_stop())
        books = {i: stack.enter_context(open_logbook(runs[i], step)) for i in live}
        # Of two checkpoints one is common, wherever between them a kill comes.
        keep = max(2, loop.keep)
        stores = {
            i: stack.enter_context(checkpoint.open_store(runs[i], keep)) for i in live
        }
        bar = stack.enter_context(
            progress(group.steps, step, f"{len(live)} together", "step")
        )
        pending = None  # logged one dispatch late, so that the device never waits
        stop = 0
        while step < group.steps and not stop and len(failed) < len(live):
            boundary = min(group.steps, (step // loop.save_every + 1) * loop.save_every)
            ahead = range(step, min(step + most, boundary))
            state, metrics = advance(state, ahead)
            if pending:
                _note(books, failed, *pending, group.steps, loop)
            pending = (ahead, metrics)
            bar.update(len(ahead))
            step = ahead.stop
            stop = signal()
            if step == boundary or stop:
                _note(books, failed, *pending, group.steps, loop)
                pending = None
                _save(stores, failed, step, state)
    if stop := signal():
        raise Stopped(f"stopped at step {step} of {group.steps}; saved", stop)
    whole = jax.device_get(state)
    for i in live.keys() - failed.keys():
        states[i] = _member(whole, i)
    return Outcome(states, failed)


def _save(stores: dict[int, checkpoint.Store], failed, step: int, state: State) -> None:
    """Saves all members that are sound."""
    whole = jax.device_get(state)
    # Before any drops its oldest, or a kill may leave no step that all have.
    for store in stores.values():
        store.wait()
    for i, store in stores.items():
        if i not in failed:
            store.save(step, items_of(_member(whole, i)))
