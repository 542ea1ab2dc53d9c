"""One way in a process of its own; started by ``benchmarks.turns``, not by hand.

Its one argument is JSON: ``kind`` ("jax", "theft", "torch" or "about"), ``seconds`` (how
long to time), ``devices`` (emulated) and what the kind takes. The last line that it
prints is JSON, too; see ``benchmarks.turns.Timed``.
"""

import json
import os
import resource
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LEAST, MOST = 3, 300  # timed calls
STEP = ("case", "batch_size", "augment", "precision", "width")


def _jax(settings: dict[str, Any]):
    """The program's own step: (call, steps a call)."""
    from benchmarks.steps import (
        make_config,
        make_stepper,
        theft_training,
        training_of,
        victim_recipe,
    )

    config = make_config(**{key: settings[key] for key in STEP})
    if settings["kind"] == "theft":
        training = theft_training(config, settings["loss"])
    else:
        training = training_of(victim_recipe(config))
    stepper = make_stepper(training)
    return stepper.call, stepper.steps


def _torch(settings: dict[str, Any]):
    from benchmarks.steps import make_config, victim_recipe
    from benchmarks.torch_simclr import make_stepper

    recipe = victim_recipe(make_config(**{key: settings[key] for key in STEP}))
    return make_stepper(
        recipe,
        precision=settings["precision"],
        channels_last=settings["channels_last"],
        mode=settings["compile"],
    )


def _peak_bytes(kind: str) -> int:
    """Memory at most: of the process, or of the accelerator in its place."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if kind == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if _cuda() else resident
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use", resident)


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def accelerator() -> str:
    """Name of the device that JAX computes on; "" for a CPU."""
    import jax

    device = jax.devices()[0]
    return "" if device.platform == "cpu" else device.device_kind


def _accelerator(kind: str) -> str:
    if kind != "torch":
        return accelerator()
    import torch

    return torch.cuda.get_device_name() if _cuda() else ""


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Builds the step, takes one, then times as many as fit into the seconds."""
    from benchmarks.record import versions

    kind = settings["kind"]
    if kind != "torch":
        import jax

        jax.config.update("jax_num_cpu_devices", settings.get("devices", 1))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if kind == "about":
        return {"versions": versions(), "accelerator": accelerator()}
    began = time.perf_counter()
    call, steps = (_torch if kind == "torch" else _jax)(settings)
    call()
    first = time.perf_counter() - began
    call()  # what is set up once more, such as memory
    seconds: list[float] = []
    end = time.perf_counter() + settings["seconds"]
    while len(seconds) < LEAST or (time.perf_counter() < end and len(seconds) < MOST):
        began = time.perf_counter()
        call()
        seconds.append((time.perf_counter() - began) / steps)
    return {
        "seconds": seconds,
        "first": first,
        "peak_bytes": _peak_bytes(kind),
        "versions": versions(),
        "accelerator": _accelerator(kind),
    }


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
