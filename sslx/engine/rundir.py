"""Run directories: names that follow from what a run is, meta.json, a lock.

A run directory is ``WORKDIR/<stage>/<slug>-<fingerprint>/``. The fingerprint hashes
the recipe (all that determines the result, the parents' fingerprints included), so
equal requests meet in one directory and a changed setting never meets an old result.
"""

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from sslx.engine import hosts
from sslx.progress import say
from sslx.types import UserError

_claimed: set[Path] = set()  # run directories that this process holds by ``claim``


class Run(NamedTuple):
    """A run as it is asked for, whether it exists yet or not.

    Attributes:
        workdir: Root of all runs.
        stage: victim, classifier, responses, steal, features, probe, fidelity or
            report.
        name: ``<slug>-<fingerprint>``, the same in every workdir.
        recipe: All that determines the result, as JSON-like data.
        parents: Role -> the run it builds on.
    """

    workdir: Path
    stage: str
    name: str
    recipe: dict[str, Any]
    parents: dict[str, "Run"]

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.workdir / self.stage / self.name


def fingerprint(recipe: Any) -> str:
    """Ten hexadecimal digits of the sha256 of JSON-like data."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def make_run(
    workdir: Path, stage: str, slug: str, recipe: dict, parents: dict[str, Run]
) -> Run:
    """Names a run after its recipe and its parents' names."""
    recipe = json.loads(json.dumps(recipe))  # tuples become lists, as they are read
    identity = {
        "stage": stage,
        "recipe": recipe,
        "parents": {role: fingerprint_of(run) for role, run in parents.items()},
    }
    return Run(workdir, stage, f"{slug}-{fingerprint(identity)}", recipe, parents)


def fingerprint_of(run: Run) -> str:
    """The fingerprint at the end of a run's name."""
    return run.name.rpartition("-")[2]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the place of ``path`` when it is whole."""
    fresh = path.with_name(path.name + ".tmp")
    with open(fresh, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_json(path: Path, data: Any) -> None:
    """Replaces a JSON file in one step, so that a kill leaves the old or the new."""
    with replacing(path) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file in one step, so that a kill leaves all of it or nothing."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def read_json(path: Path) -> Any:
    """Reads a JSON object of a run.

    Raises:
        UserError: It is missing or none.
    """
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from None


def is_finished(run: Run) -> bool:
    """Whether the run has come to its end."""
    path = run.path / "meta.json"
    return path.exists() and bool(read_json(path).get("finished"))


def write_meta(run: Run, *, finished: bool, **more: Any) -> None:
    """Writes meta.json: what a later stage needs to open the run.

    Of several processes the first alone writes.

    Args:
        run: The run.
        finished: Whether it has come to its end.
        **more: The stage's own entries, over those already there.
    """
    from sslx import __version__  # sslx/__init__ imports this file

    if not hosts.first():
        return

    path = run.path / "meta.json"
    old = read_json(path) if path.exists() else {}
    meta = old | {
        "stage": run.stage,
        "name": run.name,
        "fingerprint": fingerprint_of(run),
        "parents": {role: f"{p.stage}/{p.name}" for role, p in run.parents.items()},
        "sslx": __version__,
        "finished": finished,
    }
    write_json(path, meta | more)


@contextmanager
def hold(run: Run) -> Iterator[None]:
    """Creates the run directory and holds it against other processes.

    Who comes second says who holds it and waits. The lock is the kernel's and goes
    with the process that holds it, so a killed one leaves nothing to clean up.
    """
    if run.path in _claimed:
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    with open(run.path / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            say(f"{run.stage}/{run.name} is held by {holder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        # Who waited may hold the lock of a directory that was deleted meanwhile.
        if not os.path.exists(file.name) or not os.path.samestat(
            os.fstat(file.fileno()), os.stat(file.name)
        ):
            raise UserError(f"{run.path} was deleted meanwhile; start again")
        _sign(file)
        yield


@contextmanager
def claim(runs: Sequence[Run]) -> Iterator[bool]:
    """Holds runs if no other process does, without waiting.

    What this process works on meanwhile, ``hold`` need not hold again.

    Yields:
        Whether it holds them now; else it holds none of them.
    """
    with ExitStack() as stack:
        for run in runs:
            run.path.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(run.path / "lock", "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stack.close()
                yield False
                return
            _sign(file)
        _claimed.update(run.path for run in runs)
        stack.callback(_claimed.difference_update, [run.path for run in runs])
        yield True


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
        say(f"{label}: finished before")
        yield False
        return
    for parent in run.parents.values():
        if not is_finished(parent):
            raise UserError(
                f"{run.stage}/{run.name} builds on {parent.stage}/{parent.name}, which "
                "is not finished; add its stage to config.stages"
            )
    with hold(run):
        if is_finished(run):  # by the process that held it
            say(f"{label}: finished by another process")
            yield False
            return
        began = time.monotonic()
        taken_up = (run.path / "meta.json").exists()
        say(f"{label}: {'taken up' if taken_up else 'started'}: {what}")
        write_json(run.path / "config.json", run.recipe)
        write_meta(run, finished=False)
        yield True
        say(f"{label}: done in {time.monotonic() - began:.1f} s")
