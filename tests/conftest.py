"""Eight emulated devices; silent rank promotion is an error; float64 where asked."""

import os

os.environ.pop("JAX_NUM_CPU_DEVICES", None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def float64():
    """Lets JAX compute in double precision for one test."""
    with jax.enable_x64(True):
        yield
