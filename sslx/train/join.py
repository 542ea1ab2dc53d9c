"""How several processes find each other, and what is said while they do not."""

import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax._src.distributed import global_state as _job  # as in sslx.hosts

from sslx import hosts
from sslx.types import UserError, refuse_if

# Seconds of waiting for the others until that is said, and until it is said again.
_SILENCE, _REMINDER = 10, 60


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


def _unreachable(address: str | None) -> str:
    """Why process 0 cannot be reached, "" if it can."""
    host, _, port = (address or "").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()
        return ""
    except (OSError, ValueError) as error:
        return str(error)


@contextmanager
def _waiting(patience: int) -> Iterator[None]:
    """Says for whom the block waits, and ends the program where nobody comes.

    From a thread: JAX waits in C++, and then aborts with a stack trace. Where process
    0 can be reached, it alone speaks.
    """
    came = threading.Event()
    end = time.monotonic() + patience

    def watch() -> None:
        for pause in itertools.chain([_SILENCE], itertools.repeat(_REMINDER)):
            if came.wait(min(pause, max(end - time.monotonic(), 0))):
                return
            n, address = _job.num_processes, _job.coordinator_address
            why = "" if hosts.first() else _unreachable(address)
            whom = f"process 0 of {n} at {address} ({why})" if why else f"all {n}"
            speaks, left = why or hosts.first(), end - time.monotonic()
            if came.is_set():
                return
            if speaks and left > 0:
                _tell(f"waiting for {whom}, {left:.0f} s more at most")
            elif speaks:
                _tell(
                    f"waited {patience} s for {whom}; see that they were started and "
                    "can reach each other, or raise engine.patience "
                    "(engine.processes=1 stays alone)"
                )
            if left <= 0:
                os._exit(1)  # the main thread cannot be had before JAX's abort

    threading.Thread(target=watch, daemon=True).start()
    # The system's own handlers: Python's would not be run before JAX returns, and
    # there is nothing yet to be saved.
    alone = threading.current_thread() is threading.main_thread()
    stops = (signal.SIGTERM, signal.SIGINT) if alone else ()
    before = {stop: signal.signal(stop, signal.SIG_DFL) for stop in stops}
    try:
        yield
    finally:
        came.set()
        for stop, handler in before.items():
            signal.signal(stop, handler)


def _tell(text: str) -> None:
    print(f"sslx: process {hosts.index()}: {text}", file=sys.stderr, flush=True)


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
    # It would take SIGTERM for itself; train/interrupt.py has it, and Ctrl-C.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with _waiting(patience):
            jax.distributed.initialize(
                address or None,
                processes or None,
                process if process >= 0 else None,
                # Told everything: no launcher may narrow the devices down.
                cluster_detection_method="deactivate" if processes else None,
                initialization_timeout=patience + _REMINDER,  # ours comes first
                shutdown_timeout_seconds=60,
            )
    except (RuntimeError, ValueError, KeyError) as error:
        if not address and isinstance(error, ValueError) and _on_tpu():
            return  # one host with TPUs and nobody who would know of others
        why = str(error).splitlines()[0]
        why = f"the launcher has not set {why}" if isinstance(error, KeyError) else why
        raise UserError(
            f"the processes did not come together: {why}; set "
            "engine.coordinator, engine.processes and engine.process, or "
            "engine.processes=1 to be alone"
        ) from None
