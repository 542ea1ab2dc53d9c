"""Makes what is missing of some runs; any number of processes may do so at once.

What has to be done before what follows from the runs' parents alone. No process waits
for a run that another holds while there is something else to do, and none does what
another has done: the run directories and their locks are all they share.
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from sslx import hosts
from sslx.progress import duration, progress, say
from sslx.runs.files import is_finished
from sslx.runs.locks import claim
from sslx.runs.names import Run, with_ancestors
from sslx.types import UserError

Make = Callable[[Run], None]

PAUSE = 2.0  # seconds between two looks at what others hold
SPEAK = 30.0  # seconds, at least, between two words on how far it is


def missing(goals: Sequence[Run], stages: Collection[str]) -> list[Run]:
    """What has to be made for the goals to be there, each after what it builds on.

    What a finished run builds on is not looked at: it may have been deleted.

    Args:
        goals: Runs.
        stages: That may be made; the others must be there.
    """
    return with_ancestors(
        goals, lambda run: run.stage not in stages or is_finished(run)
    )


def carry_out(
    goals: Sequence[Run], stages: Collection[str], make: Mapping[str, Make]
) -> None:
    """Makes what is missing of the goals.

    Args:
        goals: Runs, in the order in which they are to be made where that is free.
        stages: Those that may be made.
        make: Stage -> what makes a run of it.

    Raises:
        UserError: What went wrong with some of it, when all else is done that does not
            build on it.
    """
    wanted = set(hosts.share(lambda: [run.key for run in missing(goals, stages)]))
    runs = with_ancestors(goals)
    todo = [run for run in runs if run.key in wanted]
    there = sum(
        run.key not in wanted and (run.stage in stages or is_finished(run))
        for run in runs
    )
    if there == len(runs):
        say(f"[sslx] all {len(runs)} runs are there")
    elif there:
        say(f"[sslx] {there} of {len(runs)} runs are there")
    if not todo:
        return
    # Without a terminal a bar is no help: _Teller says a line now and then.
    with progress(len(todo), 0, "all", "run", quiet=not sys.stderr.isatty()) as bar:
        # Processes that train as one take the same way.
        way = _work_off if hosts.count() == 1 else _in_order
        failed = way(todo, make, _Teller(todo, bar))
    if failed:
        more = f" (and {len(failed) - 1} more, see above)" if failed[1:] else ""
        if any(run.stage == "probe" and is_finished(run) for run in goals):
            more += f"; a report of what is finished: sslx report {todo[0].workdir}"
        raise UserError(f"{failed[0]}{more}")


def _in_order(
    todo: list[Run], make: Mapping[str, Make], teller: "_Teller"
) -> list[UserError]:
    """Makes one run after another; the first that goes wrong ends it."""
    for i, run in enumerate(todo):
        began = time.monotonic()
        make[run.stage](run)
        teller.made(run, time.monotonic() - began)
        teller.tell(todo[i + 1 :])
    return []


def _work_off(
    todo: list[Run], make: Mapping[str, Make], teller: "_Teller"
) -> list[UserError]:
    """Makes runs, each when its parents are there; gives what went wrong."""
    pending = {run.path: run for run in todo}
    failed: list[UserError] = []
    waiting = False
    while pending:
        before, busy = len(pending), False
        for run in list(pending.values()):
            if run.path not in pending or _parents(run) & pending.keys():
                continue  # lost, or its turn comes
            with claim(run) as ours:
                if not ours and not is_finished(run):
                    busy = True
                    continue
                began = time.monotonic()
                try:
                    if not is_finished(run):  # by another process, meanwhile
                        make[run.stage](run)
                        teller.made(run, time.monotonic() - began)
                    del pending[run.path]
                except UserError as error:
                    failed.append(error)
                    _give_up(run, pending)
                    if pending:
                        say(f"[{run.stage}] {error}; the others go on")
                teller.tell(pending.values())
        if len(pending) < before:
            waiting = False
        elif busy:
            if not waiting:
                say("[sslx] other processes hold all that can be done now; waiting")
            waiting = True
            time.sleep(PAUSE)
    return failed


def _parents(run: Run) -> set[Path]:
    return {parent.path for parent in run.parents.values()}


def _give_up(run: Run, pending: dict[Path, Run]) -> None:
    """Takes a run off the list, and all that builds on it."""
    lost = {run.path}
    for path, other in list(pending.items()):  # parents first
        if path in lost or _parents(other) & lost:
            lost.add(path)
            del pending[path]


class _Teller:
    """Says how far it is: a line when a stage is done, a bar with the time left."""

    def __init__(self, todo: list[Run], bar: tqdm) -> None:
        self.bar = bar
        self.told = time.monotonic()
        self.total = len(todo)
        self.runs: Counter[str] = Counter()
        self.spent: dict[str, float] = defaultdict(float)  # seconds
        self.did: dict[str, float] = defaultdict(float)  # in the units of _size
        self.ended: set[str] = set()

    def made(self, run: Run, seconds: float) -> None:
        """Takes note of a run that was made."""
        self.runs[run.stage] += 1
        self.spent[run.stage] += seconds
        self.did[run.stage] += _size(run)

    def tell(self, pending: Collection[Run]) -> None:
        """Says what is to be said when so much is left."""
        missing: dict[str, float] = defaultdict(float)
        for run in pending:
            missing[run.stage] += _size(run)
        for stage in sorted(self.runs.keys() - missing.keys() - self.ended):
            self.ended.add(stage)
            n = self.runs[stage]
            what = f"{n} run{'s' if n > 1 else ''} in {duration(self.spent[stage])}"
            say(f"[{stage}] {what}")
        if known := [stage for stage in missing if self.did[stage]]:
            ahead = sum(missing[s] * self.spent[s] / self.did[s] for s in known)
            more = " or more" if len(known) < len(missing) else ""
            left = f"{duration(ahead)}{more} left"
            self.bar.set_postfix_str(left, False)
            if self.bar.disable and time.monotonic() - self.told > SPEAK:
                self.told = time.monotonic()
                say(f"[sslx] {self.runs.total()} of {self.total} to be made, {left}")
        self.bar.update(self.total - len(pending) - self.bar.n)


def _size(run: Run) -> float:
    """How much there is to do, in units that only runs of a stage share."""
    r = run.recipe
    return float(r["steps"] * r["batch_size"]) if "batch_size" in r else 1.0
