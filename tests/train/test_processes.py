"""Several processes: two on this machine, each with its own (emulated) device."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx import data
from sslx.program import run
from sslx.service import read_counters
from sslx.train import checkpoint
from sslx.train.fit import fit
from tests import tiny
from tests.train import host, toy
from tests.train.host import LAUNCHERS, free_port

pytestmark = pytest.mark.slow


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
    program = [sys.executable, "-m", "tests.train.host"]
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


def two_devices():
    axes = (AxisType.Auto,)
    return Mesh(np.array(jax.devices()[:2]), ("data",), axis_types=axes)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """One process on two devices, undisturbed: the state and the rows."""
    folder = tmp_path_factory.mktemp("straight")
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslx.train.fit.data_mesh", lambda size: two_devices())
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
        "--config.engine.cpu_devices=2",
        f"--config.engine.coordinator=127.0.0.1:{free_port()}",
        "--config.engine.processes=2",
        *more,
    )
    own = [[f"--config.engine.process={i}", *(second if i else ())] for i in range(2)]
    return two([tiny.command(workdir, "--verbose", *flags, *more) for more in own])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Where two processes have carried out the tiny experiment, and how they ended."""
    workdir = tmp_path_factory.mktemp("two") / "w"
    with launches(workdir) as pair:
        return workdir, ends(pair, timeout=280)


def only(workdir, stage):
    (path,) = (workdir / stage).iterdir()
    return path


def test_one_speaks_for_both(done):
    # Catches lines, bars or tables told twice, and an exit status that is not zero.
    workdir, ((status, out, err), (status1, out1, err1)) = done
    assert (status, status1) == (0, 0), err + err1
    table = [line for line in out.splitlines() if "Gloo" not in line]
    assert sum(line.startswith("data set ") for line in table) == 1
    assert table[-1] == f"report: {only(workdir, 'report') / 'report.md'}"
    for stage, runs in (("victim", 1), ("responses", 1), ("steal", 1), ("probe", 5)):
        assert len(re.findall(rf"\[{stage}\] .*: started", err)) == runs
        assert len(re.findall(rf"\[{stage}\] .*: done in", err)) == runs
        assert len(re.findall(rf"\[{stage}\] {runs} runs? in", err)) == 1
    assert [line for line in out1.splitlines() if "Gloo" not in line] == []
    assert err1.strip() == ""
    assert not list(workdir.glob(".*"))


ONE_DEVICE = """
import sys, jax, numpy as np, sslx
assert jax.device_count() == 1
images = np.load(sys.argv[1])
np.save(sys.argv[2], [sslx.open_run(run).embed(images) for run in sys.argv[3:]])
"""


def test_results_are_those_of_one_process(done, tmp_path):
    # Catches rows, keys, batch statistics or answers that depend on the processes, and
    # weights that only as many devices can open as trained them. Weights are float32
    # and the order of a sum may differ: 1e-4 is what twelve steps can make of that.
    workdir, _ = done
    single = tmp_path / "w"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslx.train.fit.data_mesh", lambda size: two_devices())
        run(tiny.config(stages=("victim", "steal")), single)
    images = data.load("digits", "test").images[:64]
    np.save(tmp_path / "images.npy", images)
    folders = [only(w, s) for s in ("victim", "steal") for w in (workdir, single)]
    files = [str(tmp_path / name) for name in ("images.npy", "features.npy")]
    subprocess.run(
        [sys.executable, "-c", ONE_DEVICE, *files, *map(str, folders)],
        cwd=tiny.ROOT,
        check=True,
        timeout=150,
    )
    features = np.load(files[1])
    for i in (0, 2):
        np.testing.assert_allclose(features[i], features[i + 1], rtol=1e-4, atol=1e-4)
        assert features[i].std(axis=0).max() > 1e-2
        rows = logged(folders[i])
        assert [row["step"] for row in rows] == list(range(1, 13))
        for ours, theirs in zip(rows, logged(folders[i + 1]), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    bills = [
        read_counters(only(w, "responses") / "ledger.sqlite", "attacker")
        for w in (workdir, single)
    ]
    assert bills[0] == bills[1] and bills[0].images == 300


def one_line(pair):
    """The one line that two processes end with, both with an error."""
    (status, _, err), (status1, _, err1) = ends(pair, timeout=100)
    lines = [
        line
        for line in (err + err1).splitlines()
        if line.strip() and not line.startswith("[")
    ]
    assert len(lines) == 1, err + err1
    assert status == status1 == 1
    return lines[0]


def test_the_first_fails_alone(done, tmp_path):
    # Catches a process that waits for ever for one that has failed, and its noise.
    workdir = shutil.copytree(done[0], tmp_path / "w")
    files = (only(workdir, "victim") / "ckpt" / "12" / "encoder").rglob("*")
    for path in files:
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with launches(workdir, "--config.steal.queries=299") as pair:
        assert "is damaged" in one_line(pair)


@pytest.mark.parametrize(
    "flag,expected",
    [
        ("config.engine.save_every=3", "was given other settings"),
        ("workdir=", "does not see"),
    ],
)
def test_processes_that_do_not_match(tmp_path, flag, expected):
    # Catches two experiments that wait for each other, and work directories that are
    # not shared: each process would find half a checkpoint.
    second = f"--{flag}{tmp_path / 'other'}" if flag.endswith("=") else f"--{flag}"
    with launches(tmp_path / "w", second=[second]) as pair:
        line = one_line(pair)
    assert "process 1 " + expected in line
    assert not list((tmp_path / "w").rglob("*"))
