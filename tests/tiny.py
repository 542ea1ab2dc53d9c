"""The digits experiment, small enough for tests."""

import os
import subprocess
import sys
from pathlib import Path

from configs import default, digits_direct

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "data.held_out": 1 / 3,
    "victim.steps": 12,
    "victim.passes": 0,
    "victim.encoder_kw.conv3.width": 8,
    "steal.steps": 12,
    "steal.passes": 0,
    "steal.ssl.passes": 0,
    "steal.encoder_kw.conv3.width": 8,
    "steal.attack": "direct",
    "steal.loss": "mse",
    "steal.optim.learning_rate": 2e-3,
    "steal.batch_size": 128,
    "steal.augment": "none",
    "steal.attack_kw.direct.train_on": "asked",
    "steal.queries": 300,
    "study.grid": (),
    "study.passes": "as given",
    "steal.alone": (),
    "service.call_size": 64,
    "probe.l2_grid": (1e-2, 1e-1),
    "probe.few_labels": (),
    "probe.primary": "linear",
    "engine.save_every": 4,
    "engine.log_every": 1,
}


def config(also=(), **changes):
    """The experiment in process; keys of changes have __ for dots.

    also: further thefts beside it, as changes of the section steal.
    """
    c = digits_direct.get_config()
    if also:
        changes["study__grid"] = (default.thefts("", *also),)
    for key, value in (SETTINGS | changes).items():
        *path, last = key.replace("__", ".").split(".")
        section = c
        for name in path:
            section = section[name]
        section[last] = value
    return c


def command(workdir, *more, config="configs/digits_direct.py", settings=SETTINGS):
    """The same on the command line; later flags win."""
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    first = [f"--config={config}"] if config else []
    return [sys.executable, "launch.py", *first, f"--workdir={workdir}", *flags, *more]


def start(workdir, *more, stdout=subprocess.DEVNULL, **kw):
    """Starts the program and leaves it running; its log is on ``stderr``."""
    return subprocess.Popen(
        command(workdir, *more, **kw),
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def launch(workdir, *more, env=None, **kw):
    """Runs the program to its end; returns the finished process."""
    return subprocess.run(
        command(workdir, *more, **kw),
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


def roles(found, evaluator="linear"):
    """Of results.json: whom it judges, in order."""
    return [row["role"] for row in found["rows"] if row["evaluator"] == evaluator]


def bill(found, cell, account="attacker"):
    """Of results.json: what the one theft of a cell was billed."""
    (counted,) = found["counters"][cell]
    return counted["accounts"][account]
