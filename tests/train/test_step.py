import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.rng import rows_at, stream
from sslx.train.mesh import data_mesh, replicated
from sslx.train.step import init_state, make_dispatch, make_step, make_update
from tests.train import toy

SEED = np.uint32(0)  # toy.training's


def mesh_of(n):
    return Mesh(np.array(jax.devices()[:n]), ("data",), axis_types=(AxisType.Auto,))


def setup(dtype):
    t = toy.training(objective=toy.objective(dtype))
    update = make_update(t.objective, t.optimiser, t.schedule)

    def init(batch):
        state = init_state(t.objective, t.optimiser, t.seed, batch)

        def widen(x):
            return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(widen, state)

    return t, update, init


def batch_at(t, step):
    rows = rows_at(t.seed, len(t.data["images"]), t.batch_size, step)
    return {"images": t.data["images"][rows]}


@pytest.mark.slow
def test_one_and_eight_devices_agree(float64):
    # Catches statistics, negatives or augmentation keys that are a device's own: rows
    # differ on each device, so local ones would change the weights.
    t, update, init = setup("float64")
    ends = []
    for n in (1, 8):
        mesh = mesh_of(n)
        state = jax.jit(init, out_shardings=replicated(mesh))(batch_at(t, 0))
        step = make_step(update, mesh)
        for i in range(3):
            batch = batch_at(t, i)
            per_device = np.split(batch["images"], 8)
            assert len({p.tobytes() for p in per_device}) == 8
            state, metrics = step(state, SEED, batch)
        assert metrics["loss"].dtype == jnp.float64
        ends.append(jax.device_get(state))
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9, rtol=0)
    start = jax.device_get(jax.jit(init)(batch_at(t, 0)))
    moved = [
        np.abs(a - b).max()
        for a, b in zip(
            jax.tree.leaves(start.params), jax.tree.leaves(ends[0].params), strict=True
        )
    ]
    assert max(moved) > 1e-3  # three steps that do something


def flops(update, init, t, mesh):
    state = jax.jit(init, out_shardings=replicated(mesh))(batch_at(t, 0))
    compiled = make_step(update, mesh).lower(state, SEED, batch_at(t, 0)).compile()
    return compiled.cost_analysis()["flops"]


@pytest.mark.slow
def test_devices_share_the_work():
    # Catches a view-major layout: right values, but every device computes every row.
    t, update, init = setup("float32")
    one, eight = (flops(update, init, t, mesh_of(n)) for n in (1, 8))
    assert eight < 0.2 * one, eight / one
    # The same where the data lies on the devices.
    mesh = mesh_of(8)
    state = jax.jit(init, out_shardings=replicated(mesh))(batch_at(t, 0))
    rows = rows_at(t.seed, 48, t.batch_size, 0)[None]
    dispatch = make_dispatch(update, mesh)
    on_device = (
        dispatch.lower(state, SEED, t.data, rows).compile().cost_analysis()["flops"]
    )
    assert on_device < 0.2 * one, on_device / one


def test_scan_equals_single_steps():
    # Catches keys or rows that do not follow the step inside a dispatch.
    t, update, init = setup("float32")
    mesh = data_mesh(t.batch_size)
    whole = replicated(mesh)
    data = jax.device_put(t.data, whole)
    rows = np.stack([rows_at(t.seed, 48, t.batch_size, s) for s in range(3)])
    dispatch = make_dispatch(update, mesh)
    start = jax.jit(init, out_shardings=whole)
    at_once, metrics = dispatch(start(batch_at(t, 0)), SEED, data, rows)
    assert metrics["loss"].shape == (3,)
    state, step = start(batch_at(t, 0)), make_step(update, mesh)
    for i in range(3):
        state, single = step(state, SEED, batch_at(t, i))
        np.testing.assert_allclose(metrics["loss"][i], single["loss"], rtol=1e-5)
    assert int(at_once.step) == 3
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_step_is_compiled_once():
    # Catches a step number, a seed or a rate that enters as a Python value.
    t, update, init = setup("float32")
    traces = []

    def counted(state, seed, batch):
        traces.append(1)
        return update(state, seed, batch)

    mesh = data_mesh(t.batch_size)
    step = make_step(counted, mesh)
    state = jax.jit(init, out_shardings=replicated(mesh))(batch_at(t, 0))
    for i in range(3):
        state, _ = step(state, np.uint32(i), batch_at(t, i))
    assert len(traces) == 1


def test_rows_are_a_permutation_of_each_epoch():
    # Catches rows drawn with replacement, an order that repeats, a lost tail.
    n, size = 10, 3
    epochs = [
        [rows_at(0, n, size, epoch * 3 + i) for i in range(3)] for epoch in range(40)
    ]
    for batches in epochs:
        assert len(set(np.concatenate(batches))) == 9
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(rows_at(0, n, size, 0), rows_at(1, n, size, 0))
    left_out = {(set(range(n)) - set(np.concatenate(b))).pop() for b in epochs}
    assert left_out == set(range(n))
    np.testing.assert_array_equal(rows_at(0, n, size, 7), rows_at(0, n, size, 7))


def test_a_seed_is_an_argument():
    # Catches another key for the same seed, and seeds beyond int32 that wrap.
    traced = jax.jit(lambda seed: jax.random.key_data(stream(seed, "init")))
    keys = []
    for seed in (0, 7, 2**31 - 1, 2**31, 3 * 10**9, 2**32 - 1):
        keys.append(tuple(jax.random.key_data(stream(seed, "init")).tolist()))
        assert tuple(traced(np.uint32(seed)).tolist()) == keys[-1]
    assert len(set(keys)) == len(keys)
