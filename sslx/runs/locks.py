"""Who works on a run: a lock that the kernel keeps, and a word at start and end."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sslx import hosts
from sslx.progress import detail, duration, say
from sslx.runs.files import is_finished, write_json, write_meta
from sslx.runs.names import Run
from sslx.types import refuse_if

_claimed: set[Path] = set()  # run directories that this process holds by ``claim``


@contextmanager
def hold(run: Run) -> Iterator[None]:
    """Creates the run directory and holds it against other processes.

    Who comes second says who holds it and waits. The lock is the kernel's and goes
    with the process that holds it, so a killed one leaves nothing to clean up.
    """
    if run.path in _claimed:
        yield
        return
    with _lock(run) as (file, ours):
        if not ours:
            file.seek(0)
            holder = file.read().strip() or "another process"
            say(f"{run.key} is held by {holder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        # Who waited may hold the lock of a directory that was deleted meanwhile.
        refuse_if(
            not os.path.exists(file.name)
            or not os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)),
            f"{run.path} was deleted meanwhile; start again",
        )
        _sign(file)
        yield


@contextmanager
def claim(run: Run) -> Iterator[bool]:
    """Holds a run if no other process does, without waiting.

    What this process works on meanwhile, ``hold`` need not hold again.

    Yields:
        Whether it holds it now.
    """
    with _lock(run) as (file, ours):
        if ours:
            _sign(file)
            _claimed.add(run.path)
        try:
            yield ours
        finally:
            _claimed.discard(run.path)


@contextmanager
def _lock(run: Run) -> Iterator[tuple[IO[str], bool]]:
    """The open lock file of a run, and whether it is locked now, without waiting."""
    run.path.mkdir(parents=True, exist_ok=True)
    with open(run.path / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
        yield file, ours


def _sign(file: IO[str]) -> None:
    """Writes into a lock who holds it."""
    file.seek(0)
    file.truncate()
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    file.flush()


@contextmanager
def working_on(run: Run, what: str, *, together: bool = False) -> Iterator[bool]:
    """Holds a run while its stage works on it; logs its start and end.

    Of several processes the first alone holds it, and decides.

    Args:
        run: The run.
        what: What there is to do, for the log.
        together: Whether all processes work on it; else the others wait here until
            the first has done it.

    Yields:
        Whether there is something left to do, for this process.

    Raises:
        UserError: A run that this one builds on is not finished.
    """
    if not hosts.first():
        yield hosts.hear()
        return
    with _working_on(run, what) as needed:
        if together:
            hosts.tell(needed)
        yield needed
    if not together:
        hosts.tell(False)


@contextmanager
def _working_on(run: Run, what: str) -> Iterator[bool]:
    label = f"[{run.stage}] {run.name}"
    if is_finished(run):
        detail(f"{label}: finished before")
        yield False
        return
    for parent in run.parents.values():
        refuse_if(
            not is_finished(parent),
            f"{run.stage}/{run.name} builds on {parent.stage}/{parent.name}, which "
            "is not finished: config.stages leaves its stage out, or it was deleted",
        )
    with hold(run):
        if is_finished(run):  # by the process that held it
            detail(f"{label}: finished by another process")
            yield False
            return
        began = time.monotonic()
        taken_up = (run.path / "meta.json").exists()
        detail(f"{label}: {'taken up' if taken_up else 'started'}: {what}")
        write_json(run.path / "config.json", run.recipe)
        write_meta(run, finished=False)
        yield True
        detail(f"{label}: done in {duration(time.monotonic() - began)}")
