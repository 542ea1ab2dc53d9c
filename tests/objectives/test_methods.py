import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.objectives import OBJECTIVES
from sslx.objectives.moco import enqueue, queue_infonce
from sslx.objectives.moving import rising_decay
from sslx.train import checkpoint
from sslx.train.fit import Loop, Training, fit
from sslx.train.mesh import replicated, split_rows
from sslx.train.optim import make_optimiser
from sslx.types import Task, UserError
from tests.objectives import small
from tests.train import toy

METHODS = sorted(OBJECTIVES)


def test_every_method_has_a_case():
    # Catches a method added to the table without a test.
    assert set(small.NUMBERS) == set(OBJECTIVES)


@functools.cache
def start(name):
    """A method's parameters, statistics and extras in float64, none at its start."""
    objective = small.objective(name)
    state = jax.jit(objective.init)(jax.random.key(0), small.batch(name))
    draw = np.random.RandomState(5)

    def widen(x):
        x = np.asarray(x)
        # Noise, so that no bias is zero and no target equals its online network.
        return x if x.dtype == np.int32 else x + 0.1 * draw.randn(*x.shape)

    return jax.tree.map(widen, jax.device_get(state))


@functools.cache
def program(name, devices):
    """Compiled ``(params, moving, stats, counters, batch) -> ((loss, out), grads)``.

    Gradients are those of the parameters and of the extras that are no counters.
    """
    objective = small.objective(name)

    def run(params, moving, stats, counters, batch):
        def loss(params, moving):
            key = jax.random.key(1)
            return objective.loss(params, stats, moving | counters, batch, key)

        both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        return both(params, moving)

    mesh = Mesh(
        np.array(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,)
    )
    whole = replicated(mesh)
    jitted = jax.jit(
        run, in_shardings=(*[whole] * 4, split_rows(mesh)), out_shardings=whole
    )
    return jitted.lower(*arguments(name)).compile()


def arguments(name, batch=None):
    params, stats, extras = start(name)
    counters = {k: v for k, v in extras.items() if k == "position"}
    moving = {k: v for k, v in extras.items() if k != "position"}
    return params, moving, stats, counters, batch or small.batch(name)


def outcome(name, devices=1, **changes):
    names = ("params", "moving", "stats", "counters", "batch")
    given = dict(zip(names, arguments(name), strict=True)) | changes
    return program(name, devices)(*given.values())


def value(name, **changes):
    return float(outcome(name, **changes)[0][0])


# A slow reference: NumPy, one view after the other, from the papers' equations.


def normed(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def mlp(params, x):
    depth = sum(name.startswith("dense") for name in params)
    for i in range(1, depth + 1):
        dense, norm = params[f"dense{i}"], params.get(f"norm{i}")
        x = x @ dense["kernel"] + dense.get("bias", 0)
        if norm is not None:
            x = normed(x) * norm["scale"] + norm["bias"]
        if i < depth:
            x = np.maximum(x, 0)
    return x


def trunk(params, view):
    return normed(mlp(params["encoder"], view.reshape(len(view), -1)))


def project(params, view):
    return mlp(params["projector"], trunk(params, view))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def reference_simclr(params, extras, one, two, labels):
    both = np.stack([one, two], axis=1).reshape(-1, *one.shape[1:])
    z = unit(project(params, both)) / np.sqrt(0.5)
    total = 0.0
    for i in range(len(z)):
        others = [np.exp(z[i] @ z[j]) for j in range(len(z)) if j != i]
        total -= np.log(np.exp(z[i] @ z[i ^ 1]) / sum(others))
    return total / len(z)


def reference_simsiam(params, extras, one, two, labels):
    z = [normed(project(params, view)) for view in (one, two)]
    p = [mlp(params["predictor"], x) for x in z]
    z = extras.get("constants", z)
    cosines = [np.sum(unit(p[i]) * unit(z[1 - i]), axis=1).mean() for i in (0, 1)]
    return -sum(cosines) / 2


def reference_byol(params, extras, one, two, labels):
    p = [mlp(params["predictor"], project(params, view)) for view in (one, two)]
    z = [project(extras["target"]["params"], view) for view in (one, two)]
    cosines = [np.sum(unit(p[i]) * unit(z[1 - i]), axis=1).mean() for i in (0, 1)]
    return sum(2 - 2 * c for c in cosines)


def reference_moco(params, extras, one, two, labels):
    q = [unit(project(params, view)) for view in (one, two)]
    k = [unit(project(extras["target"]["params"], view)) for view in (one, two)]
    total = 0.0
    for mine in (0, 1):
        for query, key in zip(q[mine], k[1 - mine], strict=True):
            near = np.exp(query @ key / 0.2)
            far = sum(np.exp(query @ old / 0.2) for old in extras["queue"][1 - mine])
            total -= np.log(near / (near + far))
    return total / (2 * len(one))


def reference_barlow(params, extras, one, two, labels):
    a, b = (normed(project(params, view)) for view in (one, two))
    total, d = 0.0, a.shape[1]
    for k in range(d):
        for m in range(d):
            c = np.mean(a[:, k] * b[:, m])
            total += (1 - c) ** 2 if k == m else 0.1 * c**2
    return 0.5 * total


def reference_vicreg(params, extras, one, two, labels):
    z = [project(params, view) for view in (one, two)]
    total = 25 * np.mean((z[0] - z[1]) ** 2)
    for side in z:
        deviation = np.sqrt(side.var(0, ddof=1) + 1e-4)
        total += 25 * np.mean(np.maximum(0, 1 - deviation))
        covariance = np.cov(side.T)
        off = covariance - np.diag(np.diag(covariance))
        total += np.sum(off**2) / side.shape[1]
    return total


def reference_supervised(params, extras, one, two, labels):
    logits = mlp(params["classifier"], trunk(params, one))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.mean([np.log(row[label]) for row, label in zip(p, labels, strict=True)])


@pytest.mark.parametrize("name", METHODS)
def test_value(float64, name):
    # Catches a head of other layers, views normalised together where they should not
    # be (or apart), a direction left out, a factor, the wrong queue or network.
    params, _, extras = start(name)
    batch = small.batch(name)
    one, two = batch["images"][:, 0], batch["images"][:, -1]
    reference = globals()[f"reference_{name}"]
    expected = reference(params, extras, one, two, batch["labels"])
    np.testing.assert_allclose(value(name), expected, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_gradient(float64, name):
    # Catches a stop-gradient that is missing (SimSiam's other view is a constant) or
    # that stands where it should not: the slope of the reference in one direction.
    params, _, extras = start(name)
    batch = small.batch(name)
    views = one, two = batch["images"][:, 0], batch["images"][:, -1]
    if name == "simsiam":
        extras = {"constants": [normed(project(params, view)) for view in views]}
    draw = np.random.RandomState(7)
    way = jax.tree.map(lambda x: draw.randn(*x.shape), params)

    def along(step):
        moved = jax.tree.map(lambda x, w: x + step * w, params, way)
        reference = globals()[f"reference_{name}"]
        return reference(moved, extras, one, two, batch["labels"])

    slope = (along(1e-6) - along(-1e-6)) / 2e-6
    grads = outcome(name)[1][0]
    got = sum(jax.tree.leaves(jax.tree.map(lambda g, w: np.sum(g * w), grads, way)))
    np.testing.assert_allclose(got, slope, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_one_and_eight_devices(float64, name):
    # Catches statistics, negatives or keys of a device's own, and a layout by which
    # every device computes the whole batch.
    alone, shared = outcome(name, 1), outcome(name, 8)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(shared), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9, rtol=0)
    one, eight = (program(name, n).cost_analysis()["flops"] for n in (1, 8))
    assert eight < 0.2 * one, eight / one


@pytest.mark.parametrize("name", METHODS)
def test_gradient_flow(float64, name):
    # Catches a gradient into a target, a queue or a moving average; a part that should
    # learn and does not; extras that are carried but not used.
    (loss, out), (grads, into_extras) = outcome(name)
    assert set(grads) >= {"encoder"}
    for path, grad in jax.tree.leaves_with_path(grads):
        assert np.abs(grad).max() > 1e-7, (name, path)
    for leaf in jax.tree.leaves(into_extras):
        assert np.all(np.asarray(leaf) == 0)
    params, moving, stats, *_ = arguments(name)
    for key in moving:
        changed = {**moving, key: jax.tree.map(lambda x: 1.5 * x + 0.1, moving[key])}
        assert abs(value(name, moving=changed) - float(loss)) > 1e-6, key
    assert jax.tree.structure(out.stats) == jax.tree.structure(stats)
    for old, new in zip(
        jax.tree.leaves(stats), jax.tree.leaves(out.stats), strict=True
    ):
        assert np.abs(old - new).max() > 1e-6


@pytest.mark.parametrize("name", [m for m in METHODS if m != "supervised"])
def test_views_may_be_swapped(float64, name):
    # Catches a loss in one direction only.
    batch = small.batch(name)
    changes = {"batch": batch | {"images": batch["images"][:, ::-1]}}
    if name == "moco":
        moving = arguments(name)[1]
        changes["moving"] = moving | {"queue": moving["queue"][::-1]}
    np.testing.assert_allclose(value(name, **changes), value(name), rtol=1e-10)


def test_running_statistics_move_once_a_view(float64):
    # Catches statistics of the last view alone, and those of the two views together.
    params, stats, _ = start("barlow")
    out = outcome("barlow")[0][1]
    images = small.batch("barlow")["images"]
    mean = stats["encoder"]["norm1"]["mean"]
    for i in (0, 1):
        seen = mlp(params["encoder"], images[:, i].reshape(len(images), -1)).mean(0)
        mean = 0.9 * mean + 0.1 * seen
    np.testing.assert_allclose(out.stats["encoder"]["norm1"]["mean"], mean, rtol=1e-9)


def test_decay_rises():
    # Catches a decay that falls, starts elsewhere, or follows the number of steps done.
    assert float(rising_decay(0.9, 1.0, jnp.int32(0), 10)) == pytest.approx(0.9)
    assert float(rising_decay(0.9, 1.0, jnp.int32(5), 10)) == pytest.approx(0.95)
    assert float(rising_decay(0.9, 1.0, jnp.int32(10), 10)) == pytest.approx(1.0)
    assert float(rising_decay(0.9, 0.9, jnp.int32(3), 10)) == pytest.approx(0.9)


@pytest.mark.parametrize("name,base,final", [("byol", 0.9, 1.0), ("moco", 0.8, 0.9)])
def test_target_after_an_update(float64, name, base, final):
    # Catches the old weights taken for the new ones, a decay of another step, running
    # statistics averaged along, a predictor that is dragged into the target.
    params, stats, extras = start(name)
    after = small.objective(name).after
    got = after(params, stats, extras, jnp.asarray(3, jnp.int32))
    decay = final - (final - base) * (np.cos(np.pi * 3 / small.STEPS) + 1) / 2
    assert set(got["target"]["params"]) == {"encoder", "projector"}
    for part, tree in got["target"]["params"].items():
        old = extras["target"]["params"][part]
        expected = jax.tree.map(
            lambda o, n: decay * o + (1 - decay) * n, old, params[part]
        )
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    toy.assert_equal(got["target"]["stats"], extras["target"]["stats"])
    if name == "moco":
        toy.assert_equal(got["queue"], extras["queue"])


def test_target_begins_as_the_online_network():
    # Catches a target of other weights than the online network's at the start.
    for name in ("byol", "moco"):
        objective = small.objective(name, dtype="float32")
        params, _, extras = jax.jit(objective.init)(
            jax.random.key(0), small.batch(name)
        )
        target = extras["target"]["params"]
        toy.assert_equal(target, {part: params[part] for part in target})


@pytest.mark.parametrize("size,b", [(10, 4), (8, 4), (4, 4), (3, 4)])
def test_queue_wraps(size, b):
    # Catches rows lost or out of order where the queue ends, and views mixed up.
    queue, position = jnp.zeros((2, size, 1)), jnp.zeros((), jnp.int32)
    for step in range(5):
        numbers = jnp.arange(step * b, (step + 1) * b, dtype=jnp.float32)
        keys = jnp.stack([numbers, -numbers])[:, :, None]
        queue, position = enqueue(queue, keys, position)
    rows = np.roll(np.asarray(queue)[0, :, 0], -int(position))  # the oldest first
    np.testing.assert_array_equal(rows, np.arange(5 * b - size, 5 * b))
    np.testing.assert_array_equal(queue[1], -queue[0])


def test_moco_queues_the_targets_keys(float64):
    # Catches queries in the queue, keys that are not of unit length, and the batch's
    # own keys among its negatives (test_value reads the old queue).
    params, _, extras = start("moco")
    out = outcome("moco")[0][1]
    images = small.batch("moco")["images"]
    for view in (0, 1):
        keys = unit(project(extras["target"]["params"], images[:, view]))
        rows = np.roll(out.extras["queue"][view], -int(out.extras["position"]), axis=0)
        np.testing.assert_allclose(rows, keys[-40:], atol=1e-9)


def test_queue_infonce_closed_forms():
    # Catches a positive that is missing from the denominator.
    equal = jnp.ones((3, 4)) / 2
    loss, metrics = queue_infonce(equal, equal, jnp.ones((7, 4)) / 2, temperature=0.3)
    np.testing.assert_allclose(loss, np.log(8), rtol=1e-6)
    assert metrics["top1"] == 0  # a tie is not right
    far = jnp.eye(4)[2:]
    loss, metrics = queue_infonce(jnp.eye(4)[:2], jnp.eye(4)[:2], far, temperature=0.5)
    np.testing.assert_allclose(loss, np.log(1 + 2 * np.exp(-2)), rtol=1e-6)
    assert metrics["top1"] == 1


def test_supervised_needs_classes():
    # Catches a classifier of no outputs.
    with pytest.raises(UserError, match="needs labels"):
        OBJECTIVES["supervised"](small.encoder("float32"), small.given, Task("x", 1, 0))


class Killed(BaseException):
    pass


def data_of(images, name):
    """Data that the method takes: 48 labelled images."""
    arrays = {"images": images, "labels": np.arange(len(images), dtype=np.int32) % 3}
    return {entry: arrays[entry] for entry in small.objective(name).uses}


def views_of(name):
    """As many noisy views as the method takes."""
    v = small.objective(name).views
    return lambda key, images: small.noisy(key, images)[:, :v]


# BYOL and MoCo carry all that the others do, and more.
QUICK = {"byol", "moco"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(m, marks=[] if m in QUICK else pytest.mark.slow) for m in OBJECTIVES],
)
def test_killed_and_resumed(tmp_path, name):
    # Catches a target, a queue or its position, a predictor or running statistics that
    # are not saved, and a decay or a learning rate that starts again.
    optimiser, schedule = make_optimiser(
        "larc",
        learning_rate=0.1,
        weight_decay=1e-3,
        warmup_steps=2,
        steps=small.STEPS,
        momentum=0.9,
        trust_coefficient=0.02,
    )

    def training(images):
        return Training(
            objective=small.objective(name, views_of(name), "float32"),
            optimiser=optimiser,
            schedule=schedule,
            data=data_of(images, name),
            seed=3,
            steps=small.STEPS,
            batch_size=16,
        )

    class Images(np.ndarray):
        calls = 0

        def __getitem__(self, key):
            Images.calls += 1
            if Images.calls == 9:
                raise Killed
            return super().__getitem__(key)

    images, loop = toy.images(), Loop(1, 5, 2, 1, False)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    want = fit(training(images), straight, loop)
    with pytest.raises(Killed):
        fit(training(images.view(Images)), killed, loop)
    assert checkpoint.steps(killed) == [5]
    got = fit(training(images), killed, loop)
    toy.assert_equal(got, want)
    rows = [(f / "metrics.jsonl").read_bytes() for f in (straight, killed)]
    assert rows[0] == rows[1]
    if "target" in want.extras:
        lag = jax.tree.map(
            lambda a, b: float(jnp.abs(a - b).max()),
            want.extras["target"]["params"],
            {k: want.params[k] for k in ("encoder", "projector")},
        )
        assert max(jax.tree.leaves(lag)) > 1e-4  # the average lags behind
