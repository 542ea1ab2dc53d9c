"""Eight emulated devices; silent rank promotion is an error; float64 where asked."""

import os

os.environ.pop("JAX_NUM_CPU_DEVICES", None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests compile far more than they compute: at LLVM's first level, random numbers
# compile 15 times faster.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Keeps compiled programs between test runs, and for the programs tests start."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir("xla"))
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture
def float64():
    """Lets JAX compute in double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """The workdir of a finished tiny experiment with two losses; only to be read."""
    from sslx.program import run
    from tests import tiny

    workdir = tmp_path_factory.mktemp("experiment") / "checkpoints"
    run(tiny.config(also=("loss=infonce",)), workdir)
    return workdir
