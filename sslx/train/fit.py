"""The training loop: resume, step, log, save, stop."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from sslx import hosts
from sslx.progress import progress, say
from sslx.rng import rows_at
from sslx.train import checkpoint
from sslx.train.interrupt import Stopped, asked_to_stop
from sslx.train.logbook import WATCHED, Logbook, open_logbook
from sslx.train.mesh import data_mesh, my_rows, on_cpu, place, replicated, split_rows
from sslx.train.step import State, init_state, make_dispatch, make_step, make_update
from sslx.types import Objective, refuse_if


class Loop(NamedTuple):
    """How a run is carried out; what comes out changes by rounding at most.

    Attributes:
        log_every: Steps between two logged rows.
        save_every: Steps between two checkpoints.
        keep: How many checkpoints stay.
        steps_per_dispatch: Steps that an accelerator takes without the host; a CPU
            takes one.
        data_on_device: Whether the data set lies on an accelerator; a CPU's batches
            come from the host.
    """

    log_every: int
    save_every: int
    keep: int
    steps_per_dispatch: int
    data_on_device: bool


class Training(NamedTuple):
    """What determines the outcome of a run.

    Attributes:
        objective: The method.
        optimiser: With its schedule.
        schedule: Step -> learning rate, for the log.
        data: Arrays with the same first axis n; a batch holds rows of each.
        seed: Of initial weights, data order and everything random in a step.
        steps: Updates in all.
        batch_size: Rows of a batch; no more than n.
    """

    objective: Objective
    optimiser: optax.GradientTransformation
    schedule: Any
    data: dict[str, np.ndarray]
    seed: int
    steps: int
    batch_size: int


class Watch(NamedTuple):
    """What to look at while a run trains; it changes the outcome by rounding at most.

    Attributes:
        every: Steps between two looks; the last step always gets one.
        look: ``state -> metrics``, floats; called in the first process alone, on
            arrays that it has whole. None at all are not written.
    """

    every: int
    look: Callable[[State], dict[str, float]]


def _items(state: State) -> dict[str, Any]:
    """What a checkpoint holds of a state."""
    items: dict[str, Any] = {"state": state}
    if "encoder" in state.params:  # a head can be trained alone
        trunk = {"params": state.params["encoder"], "stats": state.stats["encoder"]}
        items["encoder"] = trunk
    for entry, item in (("projector", "head"), ("classifier", "classifier")):
        # Only the parts that are there, which are those its module will ask for.
        part = {
            kind: {entry: tree[entry]}
            for kind, tree in (("params", state.params), ("stats", state.stats))
            if entry in tree
        }
        items |= {item: part} if part else {}
    return items


def _stepper(t: Training, loop: Loop, mesh):
    """Returns ``advance(state, steps) -> (state, metrics)`` and the most steps at once.

    ``steps`` is a range; each metric is an array with one entry a step.
    """
    update = make_update(t.objective, t.optimiser, t.schedule)
    seed = place(np.array(t.seed, np.uint32), replicated(mesh))
    n = len(next(iter(t.data.values())))

    def rows(step):
        return rows_at(t.seed, n, t.batch_size, step)

    if on_cpu() or not loop.data_on_device:
        step_once = make_step(update, mesh)
        split = split_rows(mesh)

        def from_host(state, steps):
            chosen = my_rows(rows(steps[0]))
            batch = {k: place(v[chosen], split) for k, v in t.data.items()}
            state, metrics = step_once(state, seed, batch)
            return state, jax.tree.map(lambda x: x[None], metrics)

        return from_host, 1

    dispatch = make_dispatch(update, mesh)
    data = {k: place(v, replicated(mesh)) for k, v in t.data.items()}
    split_columns = split_rows(mesh, axis=1)

    def on_device(state, steps):
        chosen = my_rows(np.stack([rows(s) for s in steps]))
        return dispatch(state, seed, data, place(chosen, split_columns))

    return on_device, loop.steps_per_dispatch


def _start(t: Training, run: Path, mesh) -> State:
    """The state of the latest checkpoint, else the initial one."""
    example = {k: v[: t.batch_size] for k, v in t.data.items()}

    def init(seed, batch):
        return init_state(t.objective, t.optimiser, seed, batch)

    seed = np.uint32(t.seed)  # an argument, as in a step
    whole = replicated(mesh)
    if hosts.share(lambda: checkpoint.steps(run)):
        like = jax.eval_shape(init, seed, example)
        return checkpoint.load(run, "state", like, whole)
    return jax.jit(init, out_shardings=whole)(seed, example)


def _note(book: Logbook, steps: range, metrics: Any, total: int, loop: Loop) -> None:
    """Logs the finished steps of ``total``; raises at the first that is not finite.

    Each metric is an array with one entry a step.
    """
    metrics = jax.device_get(metrics)
    for i, step in enumerate(steps):
        row = {name: float(values[i]) for name, values in metrics.items()}
        done = step + 1
        refuse_if(
            not (math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])),
            f"step {done}: the loss is {row['loss']:.6g}, the gradient's norm "
            f"{row['grad_norm']:.6g}; try a lower learning rate (what was saved "
            "before is kept)",
        )
        if done % loop.log_every == 0 or done in (1, total):
            book(done, row)


def _boundary(step: int, t: Training, loop: Loop, watch: Watch | None) -> int:
    """The next step after which something is saved or looked at."""
    periods = [loop.save_every] + ([watch.every] if watch else [])
    return min(t.steps, *((step // period + 1) * period for period in periods))


def _watch(book: Logbook, step: int, t: Training, state: State, watch: Watch | None):
    """Looks at a state if it is time; the other processes wait for the first."""
    if watch and (step == t.steps or step % watch.every == 0):
        row = hosts.share(lambda: watch.look(state))
        if row:
            book(step, row, WATCHED)


def fit(t: Training, run: Path, loop: Loop, watch: Watch | None = None) -> State:
    """Trains to the last step, from the latest checkpoint if there is one.

    Batches and keys are functions of the step, so a run that was killed and taken up
    ends bit-equal to one that was not.

    Args:
        t: What determines the outcome.
        run: The run directory; gets ``ckpt/``, ``metrics.jsonl``, ``tensorboard/``
            and, with a watch, ``watch.jsonl``.
        loop: How to carry it out.
        watch: What to look at meanwhile; None for nothing.

    Returns:
        The state after the last step, which is also saved.

    Raises:
        UserError: A loss or gradient is not finite; the last good state stays saved.
        Stopped: SIGTERM or SIGINT came; the state is saved.
    """
    mesh = data_mesh(t.batch_size)
    devices = jax.device_count()
    # Emulated ones beyond the cores would do no work.
    emulated = jax.default_backend() == "cpu"
    if mesh.size < min(devices, (os.cpu_count() or 1) if emulated else devices):
        say(
            f"a batch of {t.batch_size} spreads evenly over {mesh.size} of "
            f"{devices} devices only"
        )
    advance, most = _stepper(t, loop, mesh)
    state = _start(t, run, mesh)
    step = int(state.step)
    with (
        asked_to_stop() as signal,
        open_logbook(run, step) as book,
        checkpoint.open_store(run, loop.keep) as save,
        progress(t.steps, step, run.parent.name, "step") as bar,
    ):
        pending = None  # logged one dispatch late, so that the device never waits
        while step < t.steps:
            boundary = _boundary(step, t, loop, watch)
            ahead = range(step, min(step + most, boundary))
            state, metrics = advance(state, ahead)
            if pending:
                _note(book, *pending, t.steps, loop)
            pending = (ahead, metrics)
            bar.update(len(ahead))
            step = ahead.stop
            # Read once: it may come at any moment. Several processes must stop at one
            # step, so they ask each other, but not so often that it costs time.
            asks = step // loop.log_every > ahead.start // loop.log_every
            alone = hosts.count() == 1
            stop = hosts.most(signal()) if alone or asks or step == boundary else 0
            if step == boundary or stop:
                # A state is saved only when its steps are known to be sound.
                _note(book, *pending, t.steps, loop)
                pending = None
                # Before it is saved: a kill in between must not lose the row.
                _watch(book, step, t, state, watch)
            if stop or step == t.steps or step % loop.save_every == 0:
                save(step, _items(state))
            if stop:
                break
    # Only here are the checkpoints known to be on disk.
    if stop := hosts.most(signal()):
        raise Stopped(f"stopped at step {step} of {t.steps}; saved", stop)
    return state
