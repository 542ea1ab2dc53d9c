"""How processes find each other; what they then do: train/test_processes.py."""

import os
import re
import signal
import socket
import threading
import time

import jax
import pytest

from sslx import hosts
from sslx.progress import progress, say
from sslx.train import join
from sslx.types import UserError
from tests import tiny
from tests.train.host import LAUNCHERS, free_port


@pytest.mark.parametrize(
    "coordinator,processes,process,expected",
    [
        ("", 2, 0, "need engine.coordinator"),
        ("", 0, 1, "need engine.coordinator"),
        ("127.0.0.1", 2, 0, "must be HOST:PORT"),
        ("127.0.0.1:70000", 2, 0, "must be HOST:PORT"),
        ("127.0.0.1:7000", 0, -1, "needs engine.processes and engine.process"),
        ("127.0.0.1:7000", 2, -1, "needs engine.processes and engine.process"),
        ("127.0.0.1:7000", 2, 2, "must be below engine.processes, 2; it is 2"),
    ],
)
def test_settings_that_do_not_match(bare, coordinator, processes, process, expected):
    # Catches JAX's own way to say so, which is a stack trace after five minutes.
    with pytest.raises(UserError, match=expected) as error:
        join.join(
            coordinator=coordinator, processes=processes, process=process, patience=1
        )
    assert "\n" not in str(error.value) and bare == []


@pytest.fixture
def bare(monkeypatch):
    """No launcher; the calls that would have started JAX's service."""
    for name in os.environ:
        if LAUNCHERS.match(name):
            monkeypatch.delenv(name)
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append(a))
    return calls


SLURM = {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "node[1-2]"}


@pytest.mark.parametrize(
    "variables,expected",
    [
        ({}, []),
        (SLURM | {"SLURM_NTASKS": "1"}, []),
        ({"SLURM_NTASKS": "2"}, []),  # in a batch script, outside srun
        (SLURM, [(None, None, None)]),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, [(None, None, None)]),
        ({"TPU_ML_PLATFORM": "JAX"}, [(None, None, None)]),
        ({"TPU_ML_PLATFORM": "JAX", "JAX_PLATFORMS": "cpu"}, []),
        ({"TPU_ML_PLATFORM": "JAX", "JAX_PLATFORMS": ""}, [(None, None, None)]),
        (SLURM | {"JAX_COORDINATOR_ADDRESS": "h:1"}, [("h:1", None, None)]),
    ],
)
def test_launchers(bare, monkeypatch, variables, expected):
    # Catches a lone machine that waits for a network, and a launcher that is not seen.
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = jax.config.jax_enable_preemption_service
    try:
        join.join(coordinator="", processes=1, process=-1, patience=1)
        assert bare == []  # told to stay alone
        join.join(coordinator="", processes=0, process=-1, patience=1)
    finally:
        jax.config.update("jax_enable_preemption_service", before)
    assert bare == expected


@pytest.mark.parametrize(
    "process,listens,expected",
    [
        (0, False, ["waiting for all 3, 1 s more", "waited 1 s for all 3; see"]),
        (
            1,
            False,
            ["waiting for process 0 of 3 at 127", "waited 1 s for pro.*refused"],
        ),
        (2, True, []),  # process 0 speaks
    ],
)
def test_who_waits_says_so(monkeypatch, capsys, process, listens, expected):
    # Catches silence for as long as engine.patience, then JAX's stack trace, and one
    # that a hundred processes print a hundred times.
    left = threading.Event()
    monkeypatch.setattr(join, "_SILENCE", 0.3)
    monkeypatch.setattr(join.os, "_exit", lambda code: (left.set(), exit(code)))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if listens else free_port()
        for name, value in (
            ("process_id", process),
            ("num_processes", 3),
            ("coordinator_address", f"127.0.0.1:{port}"),
        ):
            monkeypatch.setattr(hosts._job, name, value)
        with join._waiting(1):
            assert left.wait(10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.match(f"sslx: process {process}: {pattern}", line), line


def test_who_came_in_time_says_nothing(monkeypatch, capsys):
    # Catches a line, or an end, after the others came.
    monkeypatch.setattr(join, "_SILENCE", 0.1)
    with join._waiting(1):
        pass
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


@pytest.mark.slow  # a launch
def test_who_waits_can_be_stopped(tmp_path):
    # Catches Ctrl-C and scancel that are not heard before the others come.
    settings = {"coordinator": f"127.0.0.1:{free_port()}", "processes": 2, "process": 0}
    flags = [f"--config.engine.{key}={value}" for key, value in settings.items()]
    waiting = tiny.start(tmp_path, *flags)
    assert "waiting for all 2" in waiting.stderr.readline()
    waiting.terminate()
    assert waiting.wait(10) == -signal.SIGTERM


@pytest.mark.slow  # two processes that wait
@pytest.mark.parametrize("process", ["0", "1"])
def test_a_slurm_step_whose_other_task_never_comes(tmp_path, process):
    # Catches silence, and JAX's abort with a stack trace as the last word.
    step = {
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": process,
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NUM_NODES": "1",
    }
    done = tiny.launch(tmp_path, "--config.engine.patience=12", env=step)
    whom = "all 2" if process == "0" else r"process 0 of 2 at localhost:\d+ \(.*\)"
    said = f"sslx: process {process}: "
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert re.fullmatch(f"{said}waiting for {whom}, [12] s more at most", first)
    assert re.match(f"{said}waited 12 s for {whom}; .* raise engine.patience", second)


def test_the_others_are_silent(monkeypatch, capsys):
    # Catches a line, or a bar, that a hundred hosts print a hundred times.
    say("once")
    assert not progress(10, 0, "queries", "image").disable
    monkeypatch.setattr(hosts._job, "process_id", 1)
    say("twice")
    assert progress(10, 0, "queries", "image").disable
    assert capsys.readouterr().err == "once\n"
