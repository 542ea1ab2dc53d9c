"""What each attack trains, on what it sees, against a slow reference."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh

from sslx.attacks import ATTACKS
from sslx.train.mesh import replicated, split_rows
from sslx.types import Encoder, UserError
from tests.attacks import slow, small
from tests.objectives.test_methods import mlp, normed

KEY = jax.random.key(1)
TRAINED = [*sorted(small.CASES), "head"]  # with the first phase of recreate_head


def test_every_attack_has_a_case():
    # Catches an attack added to the table without a test.
    named = {attack for attack, _ in small.CASES.values()}
    assert named == {name for name, attack in ATTACKS.items() if attack.asks}


def test_the_table():
    # Catches a number with a second home, phases that take different blocks, and an
    # entry that names no source.
    for name, attack in ATTACKS.items():
        if not attack.asks:
            assert attack.warm and not attack.takes_loss, name
            continue
        entry = attack.objective
        assert "20" in inspect.getmodule(entry).__doc__ + entry.__doc__, name
        first, *rest = inspect.signature(entry).parameters.values()
        assert first.name == "encoder"
        numbers = rest[2:]
        for p in numbers:
            assert p.kind is p.KEYWORD_ONLY and p.default is p.empty, (name, p)
        if attack.head:
            phase = list(inspect.signature(attack.head).parameters.values())[1:]
            assert phase == numbers
    classes = {n for n, a in ATTACKS.items() if "representation" not in a.outputs}
    assert classes == {"access_head", "knockoff", "label_theft"}


def make(name, views=small.darker, dtype="float64"):
    if name == "head":
        theft = small.theft("recreate_head", dtype)
        return ATTACKS["recreate_head"].head(theft, **small.HEAD)
    return small.objective(name, views, dtype)


@functools.cache
def start(name):
    """Parameters and statistics in float64, none at its start."""
    state = jax.jit(make(name).init)(jax.random.key(0), small.batch(name))
    draw = np.random.RandomState(5)
    return jax.tree.map(
        lambda x: np.asarray(x) + 0.1 * draw.randn(*x.shape), jax.device_get(state)
    )


@functools.cache
def program(name, devices, views):
    """Compiled ``(params, stats, batch) -> ((loss, out), (of params, of answers))``."""
    objective = make(name, views)

    def run(params, stats, batch):
        def loss(params, answers):
            full = batch | {"answers": answers}
            return objective.loss(params, stats, {}, full, KEY)

        both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        return both(params, batch["answers"])

    mesh = Mesh(
        np.array(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,)
    )
    whole = replicated(mesh)
    jitted = jax.jit(
        run, in_shardings=(whole, whole, split_rows(mesh)), out_shardings=whole
    )
    return jitted.lower(*start(name)[:2], small.batch(name)).compile()


@functools.cache
def outcome(name, devices=1, views=small.darker):
    return program(name, devices, views)(*start(name)[:2], small.batch(name))


@pytest.mark.parametrize("name", TRAINED)
def test_value(float64, name):
    # Catches a head of other layers, views passed together, an answer paired with
    # another view, the wrong view, a factor, the wrong loss or head.
    given = {"head": small.head()["params"]}
    expected = getattr(slow, name)(start(name)[0], small.batch(name), given)
    np.testing.assert_allclose(outcome(name)[0][0], expected, rtol=1e-9)


@pytest.mark.parametrize("name", TRAINED)
def test_gradient(float64, name):
    # Catches a stop-gradient that is missing (the projected answers of symmetrized are
    # constants) or stands where it should not, and a part that should learn and does
    # not: the slope of the reference in one direction.
    params, batch = start(name)[0], small.batch(name)
    given = {"head": small.head()["params"]}
    if name == "symmetrized":
        y = slow.answers(batch)
        given["constants"] = [normed(mlp(params["projection"], one)) for one in y]
    draw = np.random.RandomState(7)
    way = jax.tree.map(lambda x: draw.randn(*x.shape), params)

    def along(step):
        moved = jax.tree.map(lambda x, w: x + step * w, params, way)
        return getattr(slow, name)(moved, batch, given)

    slope = (along(1e-6) - along(-1e-6)) / 2e-6
    grads = outcome(name)[1][0]
    got = sum(jax.tree.leaves(jax.tree.map(lambda g, w: np.sum(g * w), grads, way)))
    np.testing.assert_allclose(got, slope, rtol=1e-5)
    for path, grad in jax.tree.leaves_with_path(grads):
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        if (name, where) == ("symmetrized", "adapter/dense1/bias"):
            continue  # BatchNorm takes away what it adds
        assert np.abs(grad).max() > 1e-7, (name, path)


@pytest.mark.parametrize("name", sorted(small.CASES))
def test_answers_and_heads_are_constants(float64, name):
    # Catches a gradient into the answers; a frozen head among the parameters, or what
    # is thrown away saved as the stealer's head; running statistics that stay.
    (_, out), (grads, into_answers) = outcome(name)
    assert np.all(np.asarray(into_answers) == 0)
    extra = {
        "symmetrized": {"adapter", "projection", "predictor"},
        **dict.fromkeys(("own_head", "access_head", "recreate_head"), {"head"}),
        **dict.fromkeys(("label_theft", "knockoff"), {"head"}),
    }.get(name, {"adapter"})
    assert set(grads) == {"encoder"} | extra
    stats = start(name)[1]
    assert jax.tree.structure(out.stats) == jax.tree.structure(stats)
    for old, new in zip(
        jax.tree.leaves(stats), jax.tree.leaves(out.stats), strict=True
    ):
        assert np.abs(old - new).max() > 1e-6
    assert make(name).head is None and make(name).views == 1


@pytest.mark.parametrize("name", TRAINED)
def test_one_and_eight_devices(float64, name):
    # Catches statistics, negatives or keys of a device's own, and a layout by which
    # every device computes the whole batch.
    # RDA's passes must differ, or one device computes them once.
    views = small.shifted if name == "rda" else small.darker
    alone, shared = outcome(name, 1, views), outcome(name, 8, views)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(shared), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9, rtol=0)
    one, eight = (program(name, n, views).cost_analysis()["flops"] for n in (1, 8))
    assert eight < 0.2 * one, eight / one


# What the stealer looks at in each pass: an array of the batch, and whether through
# its own augmentation.
TWO = [("asked0", True), ("asked1", True)]
ONE = [("asked0", False), ("asked0", True), ("asked0", True)]
SEEN = {
    "access_head": [("images", True)] * 2,
    "cont_steal": [("images", True)] * 2,
    "cont_steal_released": [("asked0", False), ("asked1", False)],
    "direct_image": [("images", True)] * 2,
    "rda": [("images", True)] * 3,
    "stolen_encoder": ONE + [(name.replace("0", "1"), own) for name, own in ONE],
}


@pytest.mark.parametrize("name", sorted(small.CASES))
def test_what_the_stealer_sees(name):
    # Catches another view than the attack says, one drawn once for all passes or all
    # steps, and entries of a batch that are used and not named.
    attack, numbers = small.CASES[name]
    saw = []

    def apply(params, stats, images, train):
        saw.append(np.asarray(images))
        return images.reshape(len(images), -1) * params["scale"], stats

    bare = Encoder(lambda key, x: ({"scale": jnp.ones(())}, {}), apply, 48, {})
    theft = small.theft(name, "float32", trunk=None)
    if attack == "warm_start":
        theft = theft._replace(trunk={"params": {"scale": jnp.ones(())}, "stats": {}})
    objective = ATTACKS[attack].objective(bare, small.shifted, theft, **numbers)
    batch = {k: v for k, v in small.batch(name, 5).items() if k in objective.uses}
    state = objective.init(jax.random.key(0), batch)
    for step in (1, 2):
        objective.loss(*state, batch, jax.random.key(step))
    sources = (
        {"images": batch["images"]}
        if "images" in batch
        else {f"asked{i}": x for i, x in enumerate(slow.asked(batch))}
    )
    found, shifts = [], []
    for images in saw:
        for source, known in sources.items():
            apart = images - known / 255.0
            if np.ptp(apart) < 1e-5:
                own = abs(apart.mean()) > 1e-5
                found.append((source, own))
                shifts += [round(float(apart.mean()), 5)] if own else []
    assert found == 2 * SEEN.get(name, TWO)
    assert len(set(shifts)) == len(shifts)


@pytest.mark.parametrize("name", sorted(small.CASES))
def test_begins_with_the_trunk_that_is_given(name):
    # Catches a trunk that is drawn anew or half taken, weights that the engine deletes
    # under the caller's hands, and a cold start of the same weights.
    given = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), small.trunk("float32"))
    batch = small.batch(name)
    warm = small.objective(name, dtype="float32", changes={"trunk": given})
    init = warm.init if name == "direct" else jax.jit(warm.init)  # which copies, too
    params, stats, _ = init(jax.random.key(0), batch)
    mine = {"params": params["encoder"], "stats": stats["encoder"]}
    jax.tree.map(np.testing.assert_array_equal, mine, given)
    jax.tree.map(lambda x: x.delete(), mine)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(given))
    cold = small.objective(name, dtype="float32", changes={"trunk": None})
    if name == "warm_start":
        with pytest.raises(AssertionError, match="trunk is missing"):
            cold.init(jax.random.key(0), batch)
        return
    fresh = [jax.jit(cold.init)(jax.random.key(k), batch)[0] for k in (0, 1)]
    kernels = [p["encoder"]["dense1"]["kernel"] for p in fresh]
    for other in (kernels[1], given["params"]["dense1"]["kernel"]):
        assert np.abs(kernels[0] - other).max() > 1e-3


@pytest.mark.parametrize("dim", [10, 7])
def test_adapter_only_where_widths_differ(dim):
    # Catches a map that is there when it need not be.
    objective = small.objective("direct", dtype="float32", changes={"answer_dim": dim})
    batch = small.batch("direct") | {"answers": np.zeros((64, 2, dim), np.float32)}
    params = jax.eval_shape(objective.init, jax.random.key(0), batch)[0]
    assert set(params) == ({"encoder"} if dim == 10 else {"encoder", "adapter"})


def test_labels_reach_the_loss():
    # Catches labels that the loss asks for and does not get, and those it did not.
    def match(student, answers, labels):
        got.append(labels)
        return jnp.mean(student), {}

    for labelled in (True, False):
        got = []
        changes = {"match": match, "labels": labelled}
        objective = small.objective("direct", dtype="float32", changes=changes)
        assert ("labels" in objective.uses) is labelled
        batch = small.batch("direct")
        objective.loss(*objective.init(KEY, batch), batch, KEY)
        (labels,) = got
        assert (labels is batch["labels"]) if labelled else labels is None
    own = small.objective("rda", dtype="float32", changes={"labels": True})
    assert own.uses == ("images", "answers")


def test_more_views_than_two(float64):
    # Catches views that are paid for and left out.
    draw = np.random.RandomState(1)
    batch = {
        "asked": draw.randint(0, 256, (8, 3, 4, 4, 3), np.uint8),
        "answers": draw.randn(8, 3, small.DIM),
    }

    def value(name, order):
        part = {k: v[:, order] for k, v in batch.items()}
        return float(jitted(start(name)[0], start(name)[1], part))

    for name in ("head", "symmetrized"):
        loss = make(name).loss
        jitted = jax.jit(lambda p, s, b, loss=loss: loss(p, s, {}, b, KEY)[0])
        pairs = [value(name, [i, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert value(name, [0, 1, 2]) == pytest.approx(np.mean(pairs), rel=1e-9)
        assert np.ptp(pairs) > 1e-3


def test_what_is_wrong_is_one_line():
    # Catches names that are looked up within training, a classifier without classes,
    # and a contrast with nobody.
    for name, numbers, line in (
        ("direct", {"train_on": "x"}, "unknown train_on 'x'; known: asked, image"),
        ("cont_steal", {"form": "x"}, "form of Cont-Steal 'x'; known: paper, released"),
        ("stolen_encoder", {"distance": "x"}, "'x'; known: cosine, l1, l2"),
    ):
        with pytest.raises(UserError, match=line):
            small.objective(name, dtype="float32", **numbers)
    with pytest.raises(UserError, match="needs a service that answers classes"):
        small.objective("label_theft", dtype="float32", changes={"classes": 0})
    for name in ("cont_steal", "rda", "head"):
        objective = make(name, dtype="float32")
        batch = small.batch("recreate_head" if name == "head" else name, 1)
        with pytest.raises(UserError, match="2 images at least"):
            jax.eval_shape(
                lambda b, o=objective: o.loss(*o.init(KEY, b), b, KEY)[0], batch
            )


def test_a_stealer_becomes_its_victim():
    # Catches a loss that falls while the stealer learns something else: on images that
    # were never asked it must answer as the victim does.
    victim, encoder = small.trunk("float32"), small.encoder("float32")
    images = small.batch("direct", 512)["images"]
    inputs = np.asarray(small.plain(images), np.float32)
    answers, _ = encoder.apply(victim["params"], victim["stats"], inputs, True)
    asked, fresh = slice(0, 384), slice(384, 512)
    batch = {"images": images[asked], "answers": answers[asked, None]}
    objective = small.objective(
        "direct",
        lambda key, x: small.plain(x)[:, None].astype(jnp.float32),
        "float32",
        {"answer_dim": 10, "trunk": None},
        train_on="image",
    )
    optimiser = optax.adam(0.02)

    @jax.jit
    def step(params, stats, opt):
        def loss(params):
            return objective.loss(params, stats, {}, batch, KEY)

        (_, out), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt = optimiser.update(grads, opt)
        return optax.apply_updates(params, updates), out.stats, opt

    def far(params):
        got, _ = encoder.apply(params["encoder"], victim["stats"], inputs, True)
        return float(jnp.mean(jnp.square(got - answers)[fresh]))

    params, stats, _ = objective.init(jax.random.key(9), batch)
    opt = optimiser.init(params)
    before = far(params)
    for _ in range(200):
        params, stats, opt = step(params, stats, opt)
    assert far(params) < 0.02 < 1 < before
