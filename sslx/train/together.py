"""Several trainings at once, which differ in seed, numbers, weights and data only.

A training comes out as it would by itself, but for rounding, and leaves the same files.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sslx.progress import progress, say
from sslx.runs.files import read_json, write_json
from sslx.train import checkpoint
from sslx.train.fit import Loop, items_of, note
from sslx.train.interrupt import Stopped, asked_to_stop
from sslx.train.logbook import Logbook, open_logbook
from sslx.train.members import Group, make_advance, start
from sslx.train.mesh import member_mesh
from sslx.train.step import State
from sslx.types import UserError

# In the directory of a run that failed while others of its group went on.
FAILED = "failed.json"


class Outcome(NamedTuple):
    """How a group ended.

    Attributes:
        states: After the last step, on the host; None of members that were finished
            before or failed.
        failed: Member -> what went wrong, where a loss or gradient was not finite.
    """

    states: list[State | None]
    failed: dict[int, str]


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


def _failures(runs: dict[int, Path]) -> dict[int, str]:
    """Which members failed before the group was killed; none if only they are left."""
    noted = {i: run / FAILED for i, run in runs.items() if (run / FAILED).exists()}
    if len(noted) == len(runs):
        for path in noted.values():
            path.unlink()
        return {}
    return {i: read_json(path)["message"] for i, path in noted.items()}


def _note(
    books: dict[int, Logbook],
    runs: Sequence[Path],
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
            # Its checkpoints stay behind the others', who must not go back to them.
            write_json(runs[i] / FAILED, {"message": str(error)})
            say(f"{runs[i].parent.name}/{runs[i].name}: {error}; the others go on")


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
    on: a rate too high for one must not cost a study the rest of its group. It is tried
    again when all others are finished.

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
    failed = _failures({i: runs[i] for i in live})
    live = {i: m for i, m in live.items() if i not in failed}
    if not live:
        return Outcome(states, failed)
    # A place without a member does what another one does.
    places = [i if i in live else next(iter(live)) for i in range(len(group.members))]
    slots = [live[i] for i in places]
    mesh = member_mesh(len(slots))
    advance, most = make_advance(group, slots, loop, mesh)
    step = _go_back([runs[i] for i in live])
    state = start(group, slots, [runs[i] for i in places], step, mesh)
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
        while step < group.steps and not stop and not live.keys() <= failed.keys():
            boundary = min(group.steps, (step // loop.save_every + 1) * loop.save_every)
            ahead = range(step, min(step + most, boundary))
            state, metrics = advance(state, ahead)
            if pending:
                _note(books, runs, failed, *pending, group.steps, loop)
            pending = (ahead, metrics)
            bar.update(len(ahead))
            step = ahead.stop
            stop = signal()
            if step == boundary or stop:
                _note(books, runs, failed, *pending, group.steps, loop)
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
