"""Eight emulated devices; silent rank promotion is an error; float64 where asked.

What is slow and made once is shared by the workers of a run: compiled programs, and
one small experiment.
"""

import ctypes
import gc
import os
import resource

# Two workers share the cores: a BLAS that starts a thread for each core waits for
# itself. The workers and the programs that tests start inherit all of this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("JAX_NUM_CPU_DEVICES", None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests compile far more than they compute: at LLVM's first level, random numbers
# compile 15 times faster. (At none, convolutions take longer than that saves.)
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import pytest
from threadpoolctl import threadpool_limits

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
threadpool_limits(1)  # where NumPy was there before this file


def pytest_configure(config):
    """Keeps compiled programs between test runs, and for the programs tests start."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir("xla"))
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="module", autouse=True)
def memory():
    """Files leave little behind: two workers fit a small machine."""
    yield
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1.2e6:  # kB, on Linux
        jax.clear_caches()
        gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture
def float64():
    """Lets JAX compute in double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """The workdir of a finished tiny experiment with two losses; only to be read.

    All workers have the same: a run that another is at is waited for.
    """
    from sslx.program import run
    from tests import tiny

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    workdir = shared / "experiment" / "checkpoints"
    run(tiny.config(also=("loss=infonce",)), workdir)
    return workdir
