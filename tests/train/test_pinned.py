"""What the environment may not change: JAX's switches, XLA's flags."""

import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ImageFile

from sslx import program
from sslx.rng import stream
from sslx.train import pinned
from sslx.types import UserError
from tests import tiny

KNOWN = {(0, 10), (0, 12)}  # of JAX, whose switches were all looked at
# Another value of the switches that are neither true nor false; None: it has none.
OTHERS = {
    "jax_array_garbage_collection_guard": "log",
    "jax_default_matmul_precision": "bfloat16",
    "jax_default_prng_impl": "rbg",
    "jax_embedded_constants_max_bytes": 0,
    "jax_error_checking_behavior_divide": "raise",
    "jax_error_checking_behavior_nan": "raise",
    "jax_error_checking_behavior_oob": "raise",
    "jax_explicit_x64_dtypes": "allow",
    "jax_legacy_prng_key": "error",
    "jax_numpy_dtype_promotion": "strict",
    "jax_random_seed_offset": 3,
    "jax_transfer_guard": "disallow",
    "jax_transfer_guard_device_to_device": "log",
    "jax_transfer_guard_device_to_host": "disallow",
    "jax_transfer_guard_host_to_device": "log",
    "jax_use_hlo_logistic_lowering": True,
    "jax_use_magma": "off",
}


def held():
    return {name: pinned._word(value) for name, value in pinned.switches().items()}


def test_every_switch_is_decided():
    # Catches a switch that JAX or Flax gains and nobody has looked at.
    assert not pinned.PINNED.keys() & pinned.LEFT
    undecided = held().keys() - pinned.PINNED.keys() - pinned.LEFT
    if jax.__version_info__[:2] not in KNOWN:
        pytest.skip(f"of a JAX that nobody has looked at: {sorted(undecided)}")
    assert not undecided


@pytest.fixture
def restored():
    before = held()
    yield
    after = held()
    for name, value in before.items():
        if after[name] != value:
            pinned._set(name, value)
    assert held() == before


@pytest.mark.parametrize("name", pinned.PINNED)
def test_a_switch_is_held_and_given_back(name, restored, capsys):
    # Catches a switch that is forgotten, a value that JAX does not take, a notebook
    # whose switches stay turned, and all of it without a word.
    if name not in held():
        pytest.skip("of another version of JAX")
    value = pinned.PINNED[name]
    other = not value if isinstance(value, bool) else OTHERS[name]
    pinned._set(name, other)
    assert held()[name] == other
    with pinned.pinned():
        now = held()
        assert now == now | {n: v for n, v in pinned.PINNED.items() if n in now}
    assert held()[name] == other
    assert f"{name}={value}" in capsys.readouterr().err
    pinned._set(name, value)
    with pinned.pinned():
        pass
    assert capsys.readouterr().err == ""  # nothing turned, nothing told


def test_draws_and_widths(restored):
    # Catches a pin that comes too late for what was compiled before.
    @jax.jit
    def draw(seed):
        key = stream(seed, "x")
        image = jax.random.normal(key, (64,))
        return image, image @ image, jax.random.bits(key, (3,)), jnp.arange(3) / 2

    want = draw(np.uint32(5))
    for change in (
        {"jax_threefry_partitionable": False},
        {"jax_default_prng_impl": "unsafe_rbg"},
        {"jax_enable_x64": True, "jax_random_seed_offset": 1},
        {"jax_high_dynamic_range_gumbel": True, "jax_numpy_dtype_promotion": "strict"},
    ):
        for name, value in change.items():
            jax.config.update(name, value)
        with pinned.pinned():
            got = draw(np.uint32(5))
        for a, b in zip(want, got, strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b), change


def test_a_block_around_it(capsys):
    # Catches a block whose value goes before the pin, and one refused for nothing.
    for block in (
        jax.enable_x64(True),
        jax.threefry_partitionable(False),
        jax.default_matmul_precision("float32"),
        jax.numpy_dtype_promotion("strict"),
    ):
        before = held()
        refused = pytest.raises(UserError, match="outside of that block")
        with block, refused as error, pinned.pinned():
            pass
        assert "\n" not in str(error.value) and held() == before
    with jax.enable_x64(False), pinned.pinned():
        pass
    assert capsys.readouterr().err == ""


def test_the_program_pins_all_of_it(monkeypatch, tmp_path):
    # Catches a caller from Python whose switches decide.
    seen = []

    def resolve(*_):
        halves = ImageFile.LOAD_TRUNCATED_IMAGES
        seen.append((jax.config.jax_enable_x64, np.geterr()["over"], halves))
        raise UserError("far enough")

    monkeypatch.setattr(program, "resolve", resolve)
    jax.config.update("jax_enable_x64", True)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    try:
        with np.errstate(all="raise"), pytest.raises(UserError, match="far enough"):
            program.run(tiny.config(), tmp_path)
        assert jax.config.jax_enable_x64 and ImageFile.LOAD_TRUNCATED_IMAGES
    finally:
        jax.config.update("jax_enable_x64", False)
    assert seen == [(False, "warn", False)]


@pytest.mark.parametrize(
    "variable,value,refused",
    [
        ("XLA_FLAGS", "", False),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=4", False),
        ("XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_dump_to=/tmp", False),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=false", False),
        ("XLA_FLAGS", "--xla_gpu_deterministic_ops=true", False),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", True),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math", True),
        ("XLA_FLAGS", "--xla_dump_to=/tmp --xla_gpu_enable_fast_min_max=1", True),
        ("XLA_FLAGS", "--xla_allow_excess_precision=false", True),
        ("XLA_FLAGS", "--xla_gpu_ftz=true", True),
        ("XLA_FLAGS", "FILE", True),
        ("LIBTPU_INIT_ARGS", "--xla_jf_conv_full_precision=true", True),
        ("LIBTPU_INIT_ARGS", "--xla_tpu_use_enhanced_launch_barrier=true", False),
        ("NVIDIA_TF32_OVERRIDE", "0", True),
        ("NVIDIA_TF32_OVERRIDE", "1", False),
    ],
)
def test_flags_of_xla(monkeypatch, tmp_path, variable, value, refused):
    # Catches looser arithmetic under an equal name, and a scheduling flag refused.
    if value == "FILE":
        value = str(tmp_path / "flags")
        (tmp_path / "flags").write_text("--xla_cpu_enable_fast_math=true\n")
    monkeypatch.setenv(variable, value)
    if not refused:
        with pinned.pinned():
            return
    refusal = pytest.raises(UserError, match=f"{variable}.*start again")
    with refusal as error, pinned.pinned():
        pass
    assert "\n" not in str(error.value)


ODD = {
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_RANDOM_SEED_OFFSET": "3",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_LEGACY_PRNG_KEY": "error",
    "JAX_DISABLE_JIT": "1",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_CHECK_TRACER_LEAKS": "1",
    "FLAX_FIX_RNG_SEPARATOR": "1",
    "FLAX_RETURN_FROZENDICT": "1",
    "PYTHONHASHSEED": "77",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "LC_ALL": "C",
    "TZ": "Asia/Kathmandu",
    "MPLBACKEND": "TkAgg",
    "OMP_NUM_THREADS": "3",
    "COLUMNS": "20",
}


@pytest.mark.slow  # three launches
def test_a_run_taken_up_in_another_shell(experiment, tmp_path):
    # Catches streams mixed of two shells, and any file that knows of its shell.
    devices = "--config.engine.cpu_devices=8"  # as many as this process has
    process = tiny.start(tmp_path, devices)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("victim/*/ckpt/4")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    done = tiny.launch(tmp_path, devices, env=ODD)
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert first.startswith("[sslx] set for this program") and " more" in first
    kinds = ("meta.json", "*.jsonl", "*.npy")
    files = [
        p for kind in kinds for p in tmp_path.rglob(kind) if "report/" not in str(p)
    ]
    assert len(files) > 20
    for path in files:
        there = experiment / path.relative_to(tmp_path)
        # Of meta.json, too: it names the weights' digests.
        assert path.read_bytes() == there.read_bytes(), path
