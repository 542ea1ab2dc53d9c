"""Where arrays live: batches split over the devices, state on each of them."""

import math
import os
from contextlib import suppress

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from sslx.runs.paths import NoHome, local_path
from sslx.train.join import join
from sslx.types import UserError


def start(
    *,
    cpu_devices: int,
    compile_cache: str,
    coordinator: str = "",
    processes: int = 0,
    process: int = -1,
    patience: int = 300,
) -> None:
    """Sets JAX up; to be called before anything is computed.

    Args:
        cpu_devices: How many devices each process emulates where there is no
            accelerator. Two cores run convolutions faster as four or eight than as one.
        compile_cache: Folder of the persistent compilation cache; "" for none. The
            variable JAX_COMPILATION_CACHE_DIR goes first.
        coordinator: As the three below: see ``sslx.train.join``.
        processes: How many processes.
        process: Which one this is.
        patience: Seconds they wait for each other.

    Raises:
        UserError: No device to run on, or the processes did not come together.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # No home, or one that cannot be written, costs the cache, not the run.
        with suppress(OSError, NoHome):
            folder = local_path(compile_cache)
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    join(
        coordinator=coordinator,
        processes=processes,
        process=process,
        patience=patience,
    )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second: of an empty list
        asked = os.environ.get("JAX_PLATFORMS")
        why = (str(error).splitlines() or [f"no platform {asked} here"])[0]
        way_out = " (JAX_PLATFORMS asks for it)" if asked else ""
        raise UserError(f"JAX finds no device to run on: {why}{way_out}") from None


def on_cpu() -> bool:
    """Whether the devices are (emulated) CPU devices."""
    return jax.default_backend() == "cpu"


def data_mesh(batch_size: int) -> Mesh:
    """A mesh with one axis ``data`` over as many devices as divide the batch.

    Each process has the same number of them, one process after the other. The number
    of devices changes results by rounding only.

    Raises:
        UserError: The batch does not divide over the processes.
    """
    n = jax.process_count()
    if batch_size % n:
        near = [size for size in (batch_size // n * n, -(-batch_size // n) * n) if size]
        raise UserError(
            f"a batch of {batch_size} does not divide over {n} processes; "
            f"{' or '.join(map(str, near))} would"
        )
    parts = [jax.local_devices(process_index=i) for i in range(n)]
    each = math.gcd(batch_size // n, *map(len, parts))
    return _mesh([device for part in parts for device in part[:each]])


def local_mesh(batch_size: int) -> Mesh:
    """The same over this process's own devices, for what it computes alone."""
    devices = jax.local_devices()
    return _mesh(devices[: math.gcd(len(devices), batch_size)])


def _mesh(devices: list[jax.Device]) -> Mesh:
    # Auto axes: explicit ones forbid a vmap over per-example keys.
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_rows(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Axis ``axis`` split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def my_rows(rows: np.ndarray) -> np.ndarray:
    """This process's part of a batch's rows: (..., b) to (..., b / processes)."""
    n = jax.process_count()
    return np.split(rows, n, axis=-1)[jax.process_index()] if n > 1 else rows


def place(part: np.ndarray, sharding: Sharding) -> Array:
    """The array that the processes' parts make up; replicated: each has all of it."""
    return jax.make_array_from_process_local_data(sharding, part)
