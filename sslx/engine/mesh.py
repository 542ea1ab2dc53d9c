"""Where arrays live: batches split over the devices, state on each of them."""

import math
import os
from contextlib import suppress
from pathlib import Path

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sslx.types import UserError


def start(*, cpu_devices: int, compile_cache: str) -> None:
    """Sets JAX up; to be called before anything is computed.

    Args:
        cpu_devices: How many devices to emulate where there is no accelerator. Two
            cores run convolutions faster as four devices than as one.
        compile_cache: Folder of the persistent compilation cache; "" for none. The
            variable JAX_COMPILATION_CACHE_DIR goes first.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(compile_cache).expanduser()
        # A home that cannot be written costs the cache, not the run.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    try:
        jax.devices()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"JAX finds no device to run on: {reason}") from None


def on_cpu() -> bool:
    """Whether the devices are (emulated) CPU devices."""
    return jax.default_backend() == "cpu"


def data_mesh(batch_size: int) -> Mesh:
    """A mesh with one axis ``data`` over as many devices as divide the batch.

    Auto axes: the default of ``jax.make_mesh`` (explicit ones) forbids a vmap over
    per-example keys. The number of devices changes results by rounding only.
    """
    devices = jax.devices()
    n = math.gcd(len(devices), batch_size)
    return jax.make_mesh(
        (n,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:n]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_rows(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Axis ``axis`` split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))
