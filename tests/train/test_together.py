import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.losses import infonce
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import unchanged
from sslx.rng import stream
from sslx.train import checkpoint, mesh
from sslx.train.fit import Loop, Training, fit
from sslx.train.interrupt import Stopped
from sslx.train.members import Group, Member
from sslx.train.optim import OPTIMISERS, make_optimiser
from sslx.train.together import FAILED, fit_together
from sslx.types import Objective, Out

STEPS = 6
LOOP = Loop(
    log_every=1, save_every=2, keep=2, steps_per_dispatch=2, data_on_device=True
)
ONCE = LOOP._replace(save_every=STEPS)
# Beyond int32, as a config may have them.
SEEDS = (0, 1, 2, 7, 2**31 - 1, 2**31, 3 * 10**9, 2**32 - 1)


def objective(own, dtype="float32"):
    """A small head with batch statistics, InfoNCE on noisy rows from its own start."""
    init_head, head = make_mlp((6, 5), dtype=dtype, norm="hidden")

    def init(key, batch):
        params, stats = init_head(key, batch["x"])
        params = jax.tree.map(lambda p: p.astype(dtype), params)
        stats = jax.tree.map(lambda p: p.astype(dtype), stats)
        params["dense2"]["bias"] += own["start"]
        return {"encoder": params}, {"encoder": stats}, {}

    def loss(params, stats, extras, batch, key):
        noise = jax.random.uniform(key, batch["x"].shape, dtype)
        x = batch["x"] + 0.2 * noise
        out, moved = head(params["encoder"], stats["encoder"], x, True)
        value, metrics = infonce(out, batch["y"], temperature=own["temperature"])
        return value, Out({"encoder": moved}, extras, metrics)

    return Objective(init, loss, unchanged, None, ("x", "y"), 1)


def builder(name="sgd", dtype="float32"):
    def build(own):
        numbers = {"momentum": 0.9, "trust_coefficient": 0.1} | own["optim"]
        optimiser = make_optimiser(name, **numbers, warmup_steps=2, steps=STEPS)
        return objective(own, dtype), *optimiser

    return build


def data(i, dtype=np.float32):
    random, n = np.random.RandomState(i), 20 + i
    return {
        "x": random.normal(size=(n, 4)).astype(dtype),
        "y": random.normal(size=(n, 5)).astype(dtype),
    }


def member(i, dtype=np.float32, **optim):
    optim = {"learning_rate": 0.05 * (i + 1), "weight_decay": 1e-3 * i} | optim
    start = np.full(5, 0.1 * i, dtype)
    own = {"temperature": 0.2 + 0.1 * i, "optim": optim, "start": start}
    # Two that share their data, the others have their own.
    return Member(SEEDS[i], own, DATA[dtype][max(i, 1)])


DATA = {t: [data(i, t) for i in range(8)] for t in (np.float32, np.float64)}


def group(n=4, **changes):
    return Group(builder(), [member(i) for i in range(n)], STEPS, 8)._replace(**changes)


def folders(tmp_path, n=4):
    runs = [tmp_path / f"run{i}" for i in range(n)]
    for run in runs:
        run.mkdir(exist_ok=True)
    return runs


def exact(numbers):
    """As arrays: of a Python float and a step, optax makes a rate in float32."""
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), numbers)


def alone(build, m, path):
    """The same member by itself, on one device, saved once."""
    path.mkdir()
    t = Training(*build(exact(m.own)), m.data, m.seed, STEPS, 8)
    return fit(t, path, ONCE)


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").open()]


def files(run):
    """What a later stage or a resumed run finds in a run directory."""
    kept = {step: checkpoint._digests(run / "ckpt" / str(step)) for step in steps(run)}
    return rows(run), kept


def steps(run):
    return checkpoint.steps(run)


def close(a, b, atol):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


def over(monkeypatch, devices):
    small = mesh._mesh(jax.devices()[:devices])
    monkeypatch.setattr("sslx.train.together.member_mesh", lambda size: small)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A group that nothing disturbs: its states and directories."""
    runs = folders(tmp_path_factory.mktemp("straight"))
    return fit_together(group(), runs, LOOP).states, runs


@pytest.fixture(scope="module")
def singles(tmp_path_factory):
    """Eight runs by themselves, in double precision."""
    path = tmp_path_factory.mktemp("singles")
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        one = mesh._mesh(jax.devices()[:1])
        patch.setattr("sslx.train.fit.data_mesh", lambda batch_size: one)
        build = builder("sgd", "float64")
        members = [member(i, np.float64) for i in range(8)]
        states = [alone(build, m, path / f"{i}") for i, m in enumerate(members)]
        return build, members, jax.device_get(states), path


@pytest.mark.parametrize("devices,accelerator", [(1, False), (2, True)])
def test_eight_equal_eight_single_runs(
    tmp_path, singles, float64, monkeypatch, devices, accelerator
):
    # Catches a seed that wraps, numbers or weights of a neighbour, rows of another's
    # data, a key shared by the members, averages over them.
    build, members, states, path = singles
    over(monkeypatch, devices)
    if accelerator:
        monkeypatch.setattr("sslx.train.members.on_cpu", lambda: False)
    runs = folders(tmp_path, 8)
    found = fit_together(Group(build, members, STEPS, 8), runs, ONCE)
    assert found.failed == {}
    for i, run in enumerate(runs):
        close(found.states[i], states[i], atol=1e-9)
        assert steps(run) == steps(path / f"{i}")
        for ours, theirs in zip(rows(run), rows(path / f"{i}"), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9)
    kernels = [s.params["encoder"]["dense1"]["kernel"] for s in found.states]
    assert min(np.abs(kernels[0] - k).max() for k in kernels[1:]) > 1e-2


def test_adam_in_single_precision(tmp_path):
    # As above, one a device, with Adam: its first steps are signs of gradients, so that
    # rounding may move a weight by the rate; here by less than 2e-3 at 0.05 and 0.1.
    found = fit_together(group(2, build=builder("adam")), folders(tmp_path, 2), LOOP)
    for i in range(2):
        close(
            found.states[i],
            alone(builder("adam"), member(i), tmp_path / f"alone{i}"),
            atol=2e-3,
        )


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_takes_traced_numbers(float64, name):
    # Catches an optimiser that asks Python about a number, or takes a neighbour's.
    takes = OPTIMISERS[name].takes
    more = [k for k in ("momentum", "trust_coefficient") if k in takes]
    numbers = [
        {"learning_rate": 0.1 * i, "weight_decay": 0.01 * i, **dict.fromkeys(more, x)}
        for i, x in ((1, 0.5), (2, 0.8))
    ]
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}

    def three_steps(own):
        tx, schedule = make_optimiser(name, **own, warmup_steps=1, steps=9)
        state, p = tx.init(params), params
        for _ in range(3):
            updates, state = tx.update(jax.tree.map(jnp.cos, p), state, p)
            p = jax.tree.map(jnp.add, p, updates)
        return p, schedule(3)

    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.float64(v) for v in x]), *numbers)
    found = jax.jit(jax.vmap(three_steps))(stacked)
    for i, own in enumerate(numbers):
        close(jax.tree.map(lambda x: x[i], found), three_steps(exact(own)), atol=1e-9)  # noqa: B023


def test_finished_members_keep_their_places(tmp_path, straight):
    # Catches a group that shrinks to what is missing (another program, other rounding)
    # and a finished run that is written to.
    states, whole = straight
    runs = folders(tmp_path)
    (runs[1] / "mine").write_text("finished elsewhere")
    missing = [None if i in (0, 1) else member(i) for i in range(4)]
    found = fit_together(group(members=missing), runs, LOOP)
    assert found.states[:2] == [None, None]
    assert not list(runs[0].iterdir()) and len(list(runs[1].iterdir())) == 1
    for i in (2, 3):
        close(found.states[i], states[i], atol=0)
        assert files(runs[i]) == files(whole[i])


def test_a_group_of_finished_members_does_nothing(tmp_path):
    # Catches a crash where there is nobody to take the places.
    runs = folders(tmp_path)
    found = fit_together(group(members=[None] * 4), runs, LOOP)
    assert found.states == [None] * 4 and not any(list(run.iterdir()) for run in runs)


class Killed(BaseException):
    pass


def test_a_kill_between_two_checkpoints(tmp_path, straight, monkeypatch):
    # Catches members that go on from different steps, rows logged twice, a checkpoint
    # that is refused because a later one is there.
    states, whole = straight
    runs, saved = folders(tmp_path), []
    items = checkpoint.digest

    def dies(tree):
        saved.append(1)
        if len(saved) > 2 * (4 + 2):  # digests: two items of each; the second round
            raise Killed
        return items(tree)

    monkeypatch.setattr(checkpoint, "digest", dies)
    with pytest.raises(Killed):
        fit_together(group(), runs, LOOP)
    monkeypatch.undo()
    assert [steps(run) for run in runs] == [[2, 4], [2, 4], [2], [2]]
    found = fit_together(group(), runs, LOOP)
    for i in range(4):
        close(found.states[i], states[i], atol=0)
        assert files(runs[i]) == files(whole[i])


def test_uneven_checkpoints(tmp_path, straight):
    # Catches a step that only some have, and what is there of later ones kept: also
    # where one member has lost everything.
    states, whole = straight
    for lost, from_ in (((1, 6),), 4), (((2, 4), (2, 6)), 0):
        base = tmp_path / f"from{from_}"
        base.mkdir()
        runs = [base / run.name for run in whole]
        for run, copy in zip(whole, runs, strict=True):
            shutil.copytree(run, copy)
        for i, step in lost:
            shutil.rmtree(runs[i] / "ckpt" / str(step))
        found = fit_together(group(), runs, LOOP)
        for i in range(4):
            close(found.states[i], states[i], atol=0)
            assert files(runs[i]) == files(whole[i])


def test_sigterm(tmp_path, straight):
    # Catches a group that is killed without saving, or ends elsewhere afterwards.
    states, whole = straight
    runs, calls = folders(tmp_path), []

    class Rows(np.ndarray):
        def __getitem__(self, key):
            calls.extend([1] * isinstance(key, np.ndarray))
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(key)

    members = [member(i) for i in range(4)]
    seen = {k: v.view(Rows) if k == "x" else v for k, v in members[3].data.items()}
    stopped = [*members[:3], members[3]._replace(data=seen)]
    with pytest.raises(Stopped, match="saved") as stop:
        fit_together(group(members=stopped), runs, LOOP)
    assert stop.value.signal == signal.SIGTERM
    assert [steps(run)[-1] for run in runs] == [3] * 4
    found = fit_together(group(), runs, LOOP)
    for i in range(4):
        close(found.states[i], states[i], atol=0)
        assert rows(runs[i]) == rows(whole[i])


def test_a_failed_member_does_not_stop_the_others(tmp_path, straight, capsys):
    # Catches one rate too high that ends the whole group, or is saved, or that the
    # others go back for when they are taken up; and a failure that is final.
    states, whole = straight
    members = [member(i) for i in range(4)]
    members[2] = member(2, learning_rate=1e30)
    runs = folders(tmp_path)
    found = fit_together(group(members=members), runs, LOOP)
    assert list(found.failed) == [2] and found.states[2] is None
    assert "step" in found.failed[2] and "learning rate" in found.failed[2]
    assert "run2" in capsys.readouterr().err
    for i in (0, 1, 3):
        close(found.states[i], states[i], atol=0)
        assert files(runs[i]) == files(whole[i])
    assert max(steps(runs[2]), default=0) < 4
    shutil.rmtree(runs[0] / "ckpt" / "6")  # the others are taken up without it
    again = fit_together(group(members=members), runs, LOOP)
    assert again.failed == found.failed
    assert "goes back from step 6 to 4" in capsys.readouterr().err
    close(again.states[3], states[3], atol=0)
    shutil.rmtree(runs[2] / "ckpt")  # of huge numbers
    last = [None, None, member(2), None]  # tried again, mended
    mended = fit_together(group(members=last), runs, LOOP)
    assert mended.failed == {} and mended.states[2] is not None
    assert not (runs[2] / FAILED).exists()


def test_seed_as_an_array():
    # Catches another key for the same seed.
    for seed in SEEDS:
        traced = jax.jit(lambda s: stream(s, "init"))(np.uint32(seed))
        assert (
            jax.random.key_data(traced) == jax.random.key_data(stream(seed, "init"))
        ).all()
