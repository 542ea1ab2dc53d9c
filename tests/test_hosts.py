"""How processes find each other; what they then do: train/test_processes.py."""

import os

import jax
import pytest

from sslx import hosts
from sslx.progress import progress, say
from sslx.train import join
from sslx.types import UserError
from tests.train.host import LAUNCHERS


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


def test_the_others_are_silent(monkeypatch, capsys):
    # Catches a line, or a bar, that a hundred hosts print a hundred times.
    say("once")
    assert not progress(10, 0, "queries", "image").disable
    monkeypatch.setattr(hosts._job, "process_id", 1)
    say("twice")
    assert progress(10, 0, "queries", "image").disable
    assert capsys.readouterr().err == "once\n"
