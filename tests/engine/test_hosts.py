"""Several processes: two on this machine, each with its own (emulated) device."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import sslx
from sslx import data
from sslx.engine import checkpoint, hosts, mesh
from sslx.engine.fit import fit
from sslx.types import UserError
from tests import tiny
from tests.engine import host, toy

LAUNCHERS = re.compile("SLURM|OMPI|TPU|JAX_COORD|JAX_PROC")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def two(commands):
    """Starts two processes; whatever happens, none of them outlives the test."""
    env = {k: v for k, v in os.environ.items() if not LAUNCHERS.match(k)}
    pair = [
        subprocess.Popen(
            command,
            cwd=tiny.ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        yield pair
    finally:
        for process in pair:
            process.kill()
            process.communicate()


def ends(pair, timeout=150):
    """[(exit status, standard output, standard error)]."""
    end = time.monotonic() + timeout
    texts = [p.communicate(timeout=max(1, end - time.monotonic())) for p in pair]
    return [(p.returncode, *text) for p, text in zip(pair, texts, strict=True)]


def toys(folder, path):
    port = str(free_port())
    program = [sys.executable, "-m", "tests.engine.host"]
    return two([[*program, str(folder), port, str(i), path] for i in range(2)])


def wait_for(pair, path, timeout=150):
    end = time.monotonic() + timeout
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        assert all(p.poll() is None for p in pair), ends(pair)
        time.sleep(0.01)


def logged(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """One process on two devices, undisturbed: the state and the rows."""
    folder = tmp_path_factory.mktemp("straight")
    pair = Mesh(np.array(jax.devices()[:2]), ("data",), axis_types=mesh._mesh([]).axis_types)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslx.engine.fit.data_mesh", lambda size: pair)
        state = fit(host.training(), folder, toy.LOOP)
    return state, logged(folder)


def assert_same(folder, straight):
    """The weights to 1e-9, and each step logged once."""
    state, rows = straight
    got = checkpoint.load(folder, "state", state)
    assert int(got.step) == host.STEPS
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9, rtol=0)
    found = logged(folder)
    assert [row["step"] for row in found] == list(range(1, host.STEPS + 1))
    for ours, theirs in zip(found, rows, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-9)


def test_killed_and_taken_up(tmp_path, straight, float64):
    # Catches statistics, negatives or keys that are a process's own, a process that is
    # fed other rows than its own, a checkpoint that one process cannot take up.
    with toys(tmp_path, "host") as pair:
        wait_for(pair, tmp_path / "ckpt" / "4")
        for process in pair:
            process.send_signal(signal.SIGKILL)
    assert 4 <= checkpoint.steps(tmp_path)[-1] < host.STEPS
    with toys(tmp_path, "host") as pair:
        for status, _, err in ends(pair):
            assert status == 0, err
    assert_same(tmp_path, straight)


def test_one_is_asked_to_stop(tmp_path, straight, float64):
    # Catches a process that stops at a step of its own (the other would wait for ever),
    # the accelerators' path with rows of the wrong process, and a checkpoint of two
    # processes that one cannot go on from.
    with toys(tmp_path, "device") as pair:
        wait_for(pair, tmp_path / "ckpt" / "4")
        pair[1].send_signal(signal.SIGTERM)
        (one, said, err), (other, same, _) = ends(pair)
    assert one == other == signal.SIGTERM, err
    step = int(re.search(r"stopped at step (\d+) of 24; saved", said)[1])
    assert f"stopped at step {step} " in same
    assert checkpoint.steps(tmp_path)[-1] == step < host.STEPS
    fit(host.training(), tmp_path, toy.LOOP)
    assert_same(tmp_path, straight)


def launches(workdir, *more, second=()):
    """The tiny digits experiment in two processes; ``second``: flags of process 1."""
    flags = (
        "--config.engine.cpu_devices=1",
        f"--config.engine.coordinator=127.0.0.1:{free_port()}",
        "--config.engine.processes=2",
        *more,
    )
    return two(
        tiny.command(workdir, *flags, f"--config.engine.process={i}", *(second if i else ()))
        for i in range(2)
    )


ONE_DEVICE = """
import sys, jax, numpy as np, sslx
assert jax.device_count() == 1
np.save(sys.argv[2], sslx.open_run(sys.argv[1]).embed(np.load(sys.argv[3])))
"""


def results(workdir):
    (path,) = (workdir / "report").iterdir()
    return json.loads((path / "results.json").read_text())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Where two processes have carried out the tiny experiment; what they said."""
    workdir = tmp_path_factory.mktemp("two")
    with launches(workdir) as pair:
        said = ends(pair, timeout=280)
    return workdir, said


def test_launch(workdir, tmp_path):
    workdir, ((status, out, err), (status1, out1, err1)) = workdir
    assert (status, status1) == (0, 0), err + err1
    print(out, err, out1, err1)
    single = tiny.launch(tmp_path, "--config.engine.cpu_devices=2")
    print(single.stdout)
    for stage in ("victim", "steal"):
        (a,) = (workdir / stage).iterdir()
        (b,) = (tmp_path / stage).iterdir()
        for x, y in zip(logged(a), logged(b), strict=True):
            print(x["loss"], y["loss"], x["loss"] - y["loss"])
    print(results(workdir)["queries"], results(tmp_path)["queries"])
    assert 0
