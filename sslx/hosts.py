"""Several processes, on one machine or on many, that carry out one experiment.

JAX runs the same program in every process and lets arrays span them. What is left is
here: joining, deciding once for all, and ending together. The first process decides,
writes and speaks; the others hear of it through the key-value store of JAX's
coordination service, where waiting costs nothing and may last for days (a collective
on the devices would spin and time out). Alone, every function returns at once.
"""

import itertools
import json
import os
import socket
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

from sslx.types import UserError, refuse_if

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


def _cluster() -> bool:
    """Whether JAX can find out from a launcher what job this process belongs to.

    Only variables are looked at, so that a machine on its own starts as fast as ever.
    """
    for tasks in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        number = os.environ.get(tasks, "")
        step = tasks != "SLURM_NTASKS" or "SLURM_STEP_NODELIST" in os.environ
        if number.isdigit() and int(number) > 1 and step:
            return True
    return _on_tpu()


def _on_tpu() -> bool:
    # Set by JAX on import where there are TPU chips and their library.
    here = os.environ.get("TPU_ML_PLATFORM") == "JAX"
    return here and "tpu" in (os.environ.get("JAX_PLATFORMS") or "tpu")


def _check(coordinator: str, processes: int, process: int) -> str:
    """The address of process 0, "" for none; raises a UserError unless all go together.

    The variable that JAX reads stands in for an empty ``coordinator``.
    """
    variable = "JAX_COORDINATOR_ADDRESS"
    address = coordinator or os.environ.get(variable, "")
    name = "engine.coordinator" if coordinator else variable
    told = processes > 0 or process >= 0
    keys = "engine.processes and engine.process"
    refuse_if(
        told and not address,
        f"{keys} need engine.coordinator, the HOST:PORT of process 0 (or leave "
        "all three out)",
    )
    host, _, port = address.rpartition(":")
    refuse_if(
        address and not (host and port.isdigit() and 0 < int(port) < 2**16),
        f"{name} must be HOST:PORT, not {address!r}",
    )
    both = processes > 0 and process >= 0
    refuse_if(
        not both and (told or (address and not _cluster())),
        f"{name} needs {keys} beside it: how many there are, and which this one "
        "is, from 0",
    )
    refuse_if(
        both and process >= processes,
        f"engine.process counts from 0 and must be below engine.processes, "
        f"{processes}; it is {process}",
    )
    return address


def _reach(address: str, patience: int) -> None:
    """Waits until the coordinator listens: JAX would abort with a stack trace."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), 5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise UserError(
                    f"no process 0 at engine.coordinator {address} within {patience} s "
                    f"({error}); start it, or raise engine.patience"
                ) from None
        time.sleep(0.5)


def join(*, coordinator: str, processes: int, process: int, patience: int) -> None:
    """Makes this process one of several, if settings or a launcher say so.

    To be called before anything is computed. A launcher is Slurm, Open MPI, or the
    runtime of a TPU; JAX reads what they leave in the environment.

    Args:
        coordinator: HOST:PORT at which process 0 is found; "" to take the variable
            JAX_COORDINATOR_ADDRESS or to ask the launcher.
        processes: How many there are; 0 to ask the launcher, 1 to stay alone.
        process: Which this one is; -1 to ask the launcher.
        patience: Seconds to wait for the others.

    Raises:
        UserError: The settings contradict each other, or there is no coordinator.
    """
    if processes == 1 and process < 1:
        return
    address = _check(coordinator, processes, process)
    if not address and not _cluster():
        return
    if address and process > 0:
        _reach(address, patience)
    # It would take SIGTERM for itself; train/interrupt.py has it, and Ctrl-C.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address or None,
            processes or None,
            process if process >= 0 else None,
            # Told everything: no launcher may narrow the devices down.
            cluster_detection_method="deactivate" if processes else None,
            initialization_timeout=patience,
            shutdown_timeout_seconds=60,
        )
    except (RuntimeError, ValueError, KeyError) as error:
        if not address and isinstance(error, ValueError) and _on_tpu():
            return  # one host with TPUs and nobody who would know of others
        raise UserError(
            f"the processes did not come together: {str(error).splitlines()[0]}; set "
            "engine.coordinator, engine.processes and engine.process, or "
            "engine.processes=1 to be alone"
        ) from None


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
