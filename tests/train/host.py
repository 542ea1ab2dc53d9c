"""One of two processes that train the toy in float64; test_processes.py starts them.

Command: python -m tests.train.host FOLDER PORT INDEX PATH, where PATH is host or
device: where the batches come from.
"""

import re
import socket
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sslx.train import fit, logbook, mesh
from sslx.train.interrupt import Stopped
from tests.train import toy

STEPS = 24
LAUNCHERS = re.compile("SLURM|OMPI|TPU|JAX_COORD|JAX_PROC")  # their variables


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def training(images=None):
    """In float64 with SGD: what is left of a difference is an error, not rounding."""
    objective = toy.objective("float64")

    def widen(x):
        return x.astype("float64") if jnp.issubdtype(x.dtype, jnp.floating) else x

    def init(key, batch):
        return jax.tree.map(widen, objective.init(key, batch))

    changes = {} if images is None else {"data": {"images": images}}
    return toy.training(STEPS, objective=objective._replace(init=init), **changes)


class Slow(np.ndarray):
    """Images that take their time, so that a kill hits a training; checks its rows."""

    def __getitem__(self, key):
        time.sleep(0.05)
        found = super().__getitem__(key)
        assert isinstance(key, slice) or len(found) == 8, "not a half of the batch"
        return found


def main(folder, port, index, path):
    jax.config.update("jax_enable_x64", True)
    mesh.start(
        cpu_devices=1,
        compile_cache="",
        coordinator=f"127.0.0.1:{port}",
        processes=2,
        process=int(index),
        patience=60,
    )
    if index == "1":
        logbook.EventsWriter = None  # whatever it would write fails
    images = toy.images()
    if path == "device":
        fit.on_cpu = lambda: False
        dispatch = fit.make_dispatch

        def slow(*args):
            advance = dispatch(*args)
            return lambda *args: (time.sleep(0.1), advance(*args))[1]

        fit.make_dispatch = slow
    else:
        images = images.view(Slow)
    try:
        fit.fit(training(images), Path(folder), toy.LOOP)
    except Stopped as stop:
        print(stop)
        raise SystemExit(stop.signal) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
