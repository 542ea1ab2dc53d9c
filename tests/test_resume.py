"""A killed experiment ends as one that nothing disturbed."""

import json
import os
import signal
import subprocess
import time

import numpy as np

import sslx
from sslx import data
from sslx.engine import checkpoint
from sslx.service import read_counters
from tests import tiny

SETTINGS = tiny.SETTINGS | {"victim.steps": 24, "steal.steps": 24}


def outcome(workdir):
    """All that must be equal: weights, rows, ledger, results."""
    out = {}
    images = data.load("digits", "test").images[:50]
    for stage in ("victim", "steal"):
        (path,) = (workdir / stage).iterdir()
        run = sslx.open_run(path)
        digest = path / "ckpt" / str(checkpoint.steps(path)[-1]) / "digest"
        weights = json.loads((digest / "metadata").read_text())
        out[stage] = (path.name, weights, run.metrics, run.embed(images).tobytes())
    (path,) = (workdir / "responses").iterdir()
    out["ledger"] = read_counters(path / "ledger.sqlite", "attacker")
    (path,) = (workdir / "report").iterdir()
    out["results"] = json.loads((path / "results.json").read_text())
    return out


def finish(workdir):
    process = tiny.start(workdir, SETTINGS)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def kill_once_there_is(workdir, pattern):
    """SIGKILL as soon as something is there that the run must go on from."""
    process = tiny.start(workdir, SETTINGS)
    while not any(workdir.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not any(workdir.glob("report/*/results.json"))


def test_kills_change_nothing(tmp_path):
    # Catches whatever is not a function of the step: order, keys, optimiser state,
    # rows logged twice, answers paid for twice.
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(straight)
    kill_once_there_is(killed, "victim/*/ckpt/[1-9]")
    kill_once_there_is(killed, "steal/*/ckpt/[1-9]")
    finish(killed)
    want, got = outcome(straight), outcome(killed)
    assert got == want
    assert [row["step"] for row in got["victim"][2]] == list(range(1, 25))
    assert np.isfinite([row["loss"] for row in got["steal"][2]]).all()


def test_two_processes_share_one_experiment(tmp_path):
    # Catches work done twice, or two processes writing into one run.
    first, second = (
        subprocess.Popen(
            tiny.command(tmp_path),
            cwd=tiny.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    ends = [p.communicate(timeout=300) for p in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ends
    assert ends[0][0] == ends[1][0]  # the same table
    told = ends[0][1] + ends[1][1]
    assert "is held by process" in told
    assert told.count("] simclr-conv3-digits-s0-") >= 2
    (path,) = (tmp_path / "victim").iterdir()
    rows = [row["step"] for row in sslx.open_run(path).metrics]
    assert rows == list(range(1, 13))
