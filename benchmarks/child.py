"""One way in a process of its own; started by ``benchmarks.turns``, not by hand.

Its one argument is JSON: ``kind`` (of ``KINDS``, or "about"), ``seconds`` (how long to
time), ``devices`` (emulated) and what the kind takes. The last line that
it prints is JSON, too; see ``benchmarks.turns.Timed``.
"""

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LEAST, MOST = 3, 300  # timed calls
STEP = ("case", "batch_size", "precision", "width")


def _config(settings: dict[str, Any]):
    from benchmarks.steps import make_config

    return make_config(**{key: settings[key] for key in STEP})


def _recipe(settings: dict[str, Any]):
    from benchmarks.steps import victim_recipe

    return victim_recipe(_config(settings), plain=settings["plain"])


def _step(settings: dict[str, Any]):
    """The SimCLR step of this program: (call, steps a call)."""
    from benchmarks.steps import make_stepper, training_of

    stepper = make_stepper(training_of(_recipe(settings)))
    return stepper.call, stepper.steps


def _theft(settings: dict[str, Any]):
    """A step of attack "direct" with a loss; of several stealers, one after another."""
    from benchmarks.steps import make_stepper, theft_training

    training = theft_training(_config(settings), settings["loss"])
    each = [make_stepper(training) for _ in range(settings.get("stealers", 1))]
    return lambda: [stepper.call() for stepper in each], each[0].steps


def _features(settings: dict[str, Any]):
    """Features of ``images`` images, the way services and probes get them."""
    from benchmarks.steps import embedding

    embed, images = embedding(*(settings[k] for k in ("case", "width", "images")))
    return lambda: embed(images), 1


def _data(settings: dict[str, Any]):
    """Order, gathering and placing of a batch from ``images`` images on the host."""
    import jax

    from benchmarks.steps import SIZE, noise
    from sslx.rng import rows_at
    from sslx.train.mesh import data_mesh, place, split_rows

    size, images = settings["batch_size"], noise(settings["images"], SIZE, SIZE, 3)
    split = split_rows(data_mesh(size))
    step = 0

    def call():
        nonlocal step
        rows = rows_at(0, len(images), size, step)
        jax.block_until_ready(place(images[rows], split))
        step += 1

    return call, 1


def _torch(settings: dict[str, Any]):
    from benchmarks.torch_simclr import make_stepper

    return make_stepper(
        _recipe(settings),
        precision=settings["precision"],
        channels_last=settings["channels_last"],
        mode=settings["compile"],
    )


KINDS = {
    "jax": _step,
    "theft": _theft,
    "features": _features,
    "data": _data,
    "torch": _torch,
}


def _peak_bytes(kind: str) -> int:
    """Memory at most: of the process, or of the accelerator in its place."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if kind == "torch":
        import torch

        on_gpu = torch.cuda.is_available()
        return torch.cuda.max_memory_allocated() if on_gpu else resident
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use", resident)


def _torch_device() -> str | None:
    """Name of PyTorch's device, "" for a CPU; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def accelerator() -> str:
    """Name of the device that JAX computes on; "" for a CPU."""
    import jax

    device = jax.devices()[0]
    return "" if device.platform == "cpu" else device.device_kind


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Builds the step, takes one, then times as many as fit into the seconds."""
    # Before the clock starts.
    importlib.import_module("benchmarks.steps")
    from benchmarks.record import versions

    kind = settings["kind"]
    if kind == "torch":
        importlib.import_module("benchmarks.torch_simclr")
    else:
        import jax

        jax.config.update("jax_num_cpu_devices", settings.get("devices", 1))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if kind == "about":
        found = {"accelerator": accelerator(), "torch": _torch_device()}
        return {"versions": versions(), **found}
    began = time.perf_counter()
    call, steps = KINDS[kind](settings)
    call()
    first = time.perf_counter() - began
    call()  # what is set up once more, such as memory
    seconds: list[float] = []
    end = time.perf_counter() + settings["seconds"]
    while len(seconds) < LEAST or (time.perf_counter() < end and len(seconds) < MOST):
        began = time.perf_counter()
        call()
        seconds.append(round((time.perf_counter() - began) / steps, 7))
    peak = _peak_bytes(kind)
    return {"seconds": seconds, "first": round(first, 3), "peak_bytes": peak}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
