"""Several processes, on one machine or on many, that carry out one experiment.

JAX runs the same program in every process and lets arrays span them. What is left is
here: deciding once for all, and ending together (how they find each other:
``sslx.train.join``). The first process decides, writes and speaks; the others hear of
it through the key-value store of JAX's coordination service, where waiting costs
nothing and may last for days (a collective on the devices would spin and time out).
Alone, every function returns at once.
"""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

# JAX has no public way to the store; Orbax, too, takes this one.
from jax._src.distributed import global_state as _job
from jax.experimental import multihost_utils

from sslx.types import refuse_if

# Milliseconds of one wait; between two, signals and failures of others are seen.
_TURN = 1000
# Seconds that the first process has to say what all of them failed with.
_FIRST_WORD = 5
_told = itertools.count()


class Elsewhere(BaseException):
    """Another process has failed or was stopped, and this one has to end as well.

    Attributes:
        code: The exit status to end with.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def index() -> int:
    """Which process this is; does not start JAX's backend."""
    return _job.process_id


def count() -> int:
    """How many processes there are; does not start JAX's backend."""
    return _job.num_processes if _job.client else 1


def first() -> bool:
    """Whether this is the process that decides, writes and speaks."""
    return index() == 0


def _failures() -> dict[int, dict]:
    entries = _job.client.key_value_dir_get("sslx/failed")  # type: ignore[union-attr]
    return {int(key.rpartition("/")[2]): json.loads(text) for key, text in entries}


def _end_with_others() -> None:
    """Raises if another process has failed."""
    for number, what in sorted(_failures().items()):
        if number != index():
            raise Elsewhere(f"process {number}: {what['message']}", what["code"])


def _wait_for(key: str) -> Any:
    while True:
        try:
            return json.loads(_job.client.blocking_key_value_get(key, _TURN))  # type: ignore[union-attr]
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        _end_with_others()


def tell(value: Any) -> None:
    """In the first process: hands JSON-like data to the next ``hear`` of the others."""
    if count() > 1:
        _end_with_others()
        _job.client.key_value_set(f"sslx/told/{next(_told)}", json.dumps(value))  # type: ignore[union-attr]


def hear() -> Any:
    """In the others: what the first process tells, however long that takes.

    Raises:
        Elsewhere: Another process has failed meanwhile.
    """
    return _wait_for(f"sslx/told/{next(_told)}")


def share(compute: Callable[[], Any]) -> Any:
    """What ``compute`` returns in the first process; called by all of them."""
    if not first():
        return hear()
    value = compute()
    tell(value)
    return value


def most(number: int) -> int:
    """The largest of the numbers that the processes give; called by all of them.

    A collective on the devices: for use between the steps of a training.
    """
    if count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())


def meet(plan: str, folder: Path) -> None:
    """Waits for all processes, and makes sure that they are about to do the same.

    Args:
        plan: What this process is about to do.
        folder: Where all of them will read and write; must be one place.

    Raises:
        UserError: The plans differ, or the folder is not shared.
    """
    if count() == 1:
        return

    def begin() -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".shared-", dir=folder)
        os.close(handle)
        return [plan, Path(name).name]

    firsts_plan, name = share(begin)
    token = folder / name
    problem = ""
    if plan != firsts_plan:
        problem = "was given other settings or other data than process 0"
    elif not _appears(token):
        problem = (
            f"does not see what process 0 writes to {folder}; put --workdir on a file "
            "system that all machines share"
        )
    met = f"sslx/met/{next(_told)}"
    _job.client.key_value_set(f"{met}/{index()}", json.dumps(problem))  # type: ignore[union-attr]
    try:
        problems = [(i, _wait_for(f"{met}/{i}")) for i in range(count())]
    finally:
        if first():
            with suppress(OSError):
                token.unlink()
    for number, text in problems:
        refuse_if(text, f"process {number} {text}")


def _appears(path: Path) -> bool:
    for _ in range(20):  # a network file system may take a moment
        if path.exists():
            return True
        time.sleep(0.25)
    return False


def give_up(message: str, code: int) -> bool:
    """Lets the others know that this process is about to end.

    Returns:
        Whether it should say why: of several with one reason, only the first does.
    """
    if count() == 1:
        return True
    what = json.dumps({"message": message, "code": code})
    with suppress(jax.errors.JaxRuntimeError):  # told before, or nobody left to tell
        _job.client.key_value_set(f"sslx/failed/{index()}", what)  # type: ignore[union-attr]
        end = time.monotonic() + _FIRST_WORD
        while not first() and time.monotonic() < end:
            if 0 in _failures():
                return False
            time.sleep(0.1)
    return True
