"""Works off what a study has to do; any number of processes may do so at once.

No process waits for a run that another holds while there is something else to do, and
none does what another has done: the run directories and their locks are all they share.
"""

import time
from collections import defaultdict
from typing import NamedTuple

from sslx import hosts
from sslx.progress import say
from sslx.runs.files import is_finished
from sslx.runs.locks import claim
from sslx.runs.names import Run
from sslx.stages.work import Work
from sslx.types import UserError

PAUSE = 2.0  # seconds between two looks at what others hold
SPEAK = 10.0  # seconds, at least, between two words on how far it is


class Pace(NamedTuple):
    """How long runs took here, by their stage.

    Attributes:
        total: Runs of the whole study.
        spent: Stage -> seconds.
        did: Stage -> how much of it, in the units of ``_size``.
    """

    total: int
    spent: dict[str, float]
    did: dict[str, float]


def _took(pace: Pace, runs: list[Run], seconds: float) -> None:
    for run in runs:
        pace.spent[run.stage] += seconds / len(runs)
        pace.did[run.stage] += _size(run)


def _tell(pace: Pace, pending: list[Work], failed: int) -> None:
    """Says how far the study is, and for how long it goes on at this pace."""
    missing = {run.path: run for work in pending for run in work.runs}
    left: dict[str, float] = defaultdict(float)
    for run in missing.values():
        left[run.stage] += _size(run)
    known = [stage for stage in left if pace.did[stage]]
    seconds = sum(left[k] * pace.spent[k] / pace.did[k] for k in known)
    more = " or more" if len(known) < len(left) else ""
    at = f", {_minutes(seconds)}{more} left at this pace" if known else ""
    there = pace.total - len(missing) - failed
    lost = f", {failed} failed" if failed else ""
    say(f"[study] {there} of {pace.total} runs are there{lost}{at}")


def _size(run: Run) -> float:
    """How much there is to do, in units that only runs of a stage share."""
    r = run.recipe
    return float(r["steps"] * r["batch_size"]) if "batch_size" in r else 1.0


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _done(work: Work) -> bool:
    return all(map(is_finished, work.runs))


def _ready(work: Work) -> bool:
    """Whether all that the missing runs build on is there, or made with them."""
    inside = {run.path for run in work.runs}
    return all(
        parent.path in inside or is_finished(parent)
        for run in work.runs
        if not is_finished(run)
        for parent in run.parents.values()
    )


def carry_out(works: list[Work]) -> None:
    """Does all the work that is missing.

    Runs that are made together wait for all that any of them builds on.

    Args:
        works: Each after what it builds on.

    Raises:
        UserError: What went wrong with some of it, when all else is done that does not
            build on it.
    """
    if hosts.count() > 1:  # processes that train as one take the same way
        for work in works:
            work.do()
        return
    total = len({run.path for work in works for run in work.runs})
    pace = Pace(total, defaultdict(float), defaultdict(float))
    pending = [work for work in works if not _done(work)]
    if len(pending) < len(works) and total > 1:
        _tell(pace, pending, 0)
    lost = 0  # runs that failed
    failed: list[UserError] = []
    waiting, told = False, time.monotonic()
    while pending:
        missing, busy = len(pending), False
        for work in list(pending):
            if not _done(work) and not _ready(work):
                continue
            with claim(work.runs) as ours:
                if not ours and not _done(work):
                    busy = True
                    continue
                pending.remove(work)
                if _done(work):  # by another process
                    continue
                left = [run for run in work.runs if not is_finished(run)]
                began = time.monotonic()
                try:
                    work.do()
                    _took(pace, left, time.monotonic() - began)
                except UserError as error:
                    say(f"[study] {error}; the others go on")
                    failed.append(error)
                    lost += sum(not is_finished(run) for run in left)
            if time.monotonic() - told > SPEAK:
                _tell(pace, pending, lost)
                told = time.monotonic()
        if len(pending) < missing:
            waiting = False
        elif busy:
            if not waiting:
                say("[study] other processes hold all that can be done now; waiting")
            waiting = True
            time.sleep(PAUSE)
        elif failed:
            break
        else:
            pending.pop(0).do()  # says what is missing
    if failed:
        more = f" (and {len(failed) - 1} more, see above)" if failed[1:] else ""
        raise UserError(
            f"{failed[0]}{more}; the report of what is finished: sslx report "
            f"{works[0].runs[0].workdir}"
        )
