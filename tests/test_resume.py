"""A killed experiment ends as one that nothing disturbed."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

import sslx
from sslx import data
from sslx.service import read_all_counters
from sslx.train import checkpoint
from tests import tiny

pytestmark = pytest.mark.slow  # kills, and two processes

SETTINGS = tiny.SETTINGS | {"victim.steps": 24, "steal.steps": 24}
# Three rounds that follow from each other's answers, of two accounts; what chooses
# among the images, and a head, are trained before the stealer.
ROUNDS = {
    "steal.attack": "recreate_head",
    "steal.loss": "infonce",
    "steal.ask_views": 2,
    "steal.ask_augment": "mild",
    "steal.plan": "kmeans",
    "steal.plan_kw.kmeans.clusters": 20,
    "steal.plan_features": "ssl",
    "steal.rounds": 3,
    "steal.accounts": 2,
    "steal.ssl.augment": "mild",
    "steal.ssl.steps": 12,
    "steal.head.steps": 12,
}


def outcome(workdir):
    """All that must be equal: weights, rows, plans, ledger, results."""
    out = {}
    images = data.load("digits", "test").images[:50]
    for path in sorted((*workdir.glob("victim/*"), *workdir.glob("steal/*"))):
        run = sslx.open_run(path)
        digest = path / "ckpt" / str(checkpoint.steps(path)[-1]) / "digest"
        weights = json.loads((digest / "metadata").read_text())
        features = run.embed(images).tobytes() if "encoder" in run.meta else None
        out[f"{path.parent.name}/{path.name}"] = (weights, run.metrics, features)
    (path,) = (workdir / "responses").iterdir()
    out["plan"] = [np.load(file).tolist() for file in sorted(path.glob("plan-*.npy"))]
    out["ledger"] = read_all_counters(path / "ledger.sqlite")
    (path,) = (workdir / "report").iterdir()
    out["results"] = json.loads((path / "results.json").read_text())
    return out


def finish(workdir, settings):
    process = tiny.start(workdir, settings=settings)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def kill_once_there_is(workdir, settings, pattern):
    """SIGKILL as soon as something is there that the run must go on from."""
    process = tiny.start(workdir, settings=settings)
    while not any(workdir.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not any(workdir.glob("report/*/results.json"))


@pytest.mark.parametrize(
    ("more", "moments", "ledger"),
    [
        ({}, ("victim/*/ckpt/[1-9]", "steal/*/ckpt/[1-9]"), {"attacker": 300}),
        # In the middle of the second round: its plan is written, nothing of it asked.
        (
            ROUNDS,
            ("responses/*/plan-1.npy", "steal/recreate_head-[!h]*/ckpt/[1-9]"),
            {"attacker1": 192, "attacker2": 108},
        ),
    ],
)
def test_kills_change_nothing(more, moments, ledger, tmp_path):
    # Catches whatever is not a function of the step: order, keys, optimiser state,
    # rows logged twice, images chosen anew, answers paid for twice.
    straight, killed, settings = tmp_path / "straight", tmp_path / "w", SETTINGS | more
    finish(straight, settings)
    for moment in moments:
        kill_once_there_is(killed, settings, moment)
    finish(killed, settings)
    want, got = outcome(straight), outcome(killed)
    assert got == want
    assert {name: counted.images for name, counted in got["ledger"].items()} == ledger
    runs = {key: found[1] for key, found in got.items() if "/" in key}
    for key, rows in runs.items():
        last = 24 if key.startswith("victim") or "-conv3-300q" in key else 12
        assert [row["step"] for row in rows] == list(range(1, last + 1))
        assert np.isfinite([row["loss"] for row in rows]).all()


def test_two_processes_share_one_experiment(tmp_path):
    # Catches work done twice, or two processes writing into one run.
    first, second = (
        tiny.start(tmp_path, "--verbose", stdout=subprocess.PIPE) for _ in range(2)
    )
    ends = [p.communicate(timeout=300) for p in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ends
    assert ends[0][0] == ends[1][0]  # the same table
    told = (ends[0][1] + ends[1][1]).splitlines()
    assert any("other processes hold all that can be done now" in t for t in told)
    started = [t.split(": ")[0] for t in told if ": started: " in t]
    assert len(started) == len(set(started)) == len(sslx.lineage(tmp_path))
    assert not any(": taken up: " in t for t in told)
    (path,) = (tmp_path / "victim").iterdir()
    rows = [row["step"] for row in sslx.open_run(path).metrics]
    assert rows == list(range(1, 13))
