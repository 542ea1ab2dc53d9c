import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sslx
from sslx import data
from sslx.build import make_objective, make_views
from sslx.data.presets import PRESETS
from sslx.experiment.graph import resolve
from sslx.objectives import OBJECTIVES
from sslx.stages import victim
from sslx.stages.training import make_training
from sslx.train import checkpoint
from sslx.train.step import init_state
from sslx.types import UserError
from tests import tiny

PLAIN = PRESETS["none"][0]


def recipe_of(*preset):
    asdict = [recipe._asdict() for recipe in preset]
    return {"augment": asdict, "mean": [0.5], "std": [0.25]}


def test_views_are_the_presets_one_after_the_other():
    # Catches view-major views, one recipe for all, views that are not normalised.
    images = np.random.RandomState(0).randint(0, 256, (6, 4, 5, 1), np.uint8)
    views = make_views(recipe_of(PLAIN, PLAIN._replace(solarise_p=1.0)))
    got = views(jax.random.key(0), jnp.asarray(images))
    assert got.shape == (6, 2, 4, 5, 1) and got.dtype == jnp.float32
    x = images / 255
    for i, expected in enumerate((x, np.where(x >= 0.5, 1 - x, x))):
        np.testing.assert_allclose(got[:, i], (expected - 0.5) / 0.25, atol=1e-5)


def test_views_of_an_image_differ():
    # Catches one key for both views: they would be equal and the loss at its floor.
    images = np.random.RandomState(0).randint(0, 256, (40, 4, 4, 1), np.uint8)
    views = make_views(recipe_of(*[PLAIN._replace(flip_p=0.5)] * 2))
    one, two = np.moveaxis(views(jax.random.key(0), jnp.asarray(images)), 1, 0)
    differ = np.abs(one - two).max(axis=(1, 2, 3)) > 0.1
    assert 8 <= differ.sum() <= 32
    again = views(jax.random.key(1), jnp.asarray(images))
    assert np.abs(again[:, 0] - one).max() > 0.1


def recipe(tmp_path, **changes):
    return resolve(tiny.config(**changes), tmp_path).members[0].victim.recipe


def preset_of(name):
    return "supervised" if name == "supervised" else "mild"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_method_resolves_and_traces_at_full_size(tmp_path, name):
    # Catches a block of numbers that does not fit, entries of a batch that no data set
    # has, and shapes that only fit the tests' small sizes.
    r = recipe(tmp_path, victim__objective=name, victim__augment=preset_of(name))
    objective = make_objective(r)
    b = r["batch_size"]
    entries = {
        "images": jax.ShapeDtypeStruct((b, *r["image_shape"]), np.uint8),
        "labels": jax.ShapeDtypeStruct((b,), np.int32),
    }
    batch = {entry: entries[entry] for entry in objective.uses}
    key = jax.random.key(0)
    state = jax.eval_shape(lambda x: objective.init(key, x), batch)
    value, out = jax.eval_shape(lambda s, x: objective.loss(*s, x, key), state, batch)
    assert value.shape == () and value.dtype == jnp.float32
    same = jax.tree.map(lambda x: (x.shape, x.dtype), (state[1], state[2]))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), (out.stats, out.extras)) == same
    after = jax.eval_shape(objective.after, *state, jax.ShapeDtypeStruct((), np.int32))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == same[1]


def test_views_must_be_those_the_method_takes(tmp_path):
    # Catches a view that is dropped, or the same one taken twice, in silence.
    with pytest.raises(UserError, match="'byol' takes 2 view.*'supervised' makes 1"):
        recipe(tmp_path, victim__objective="byol", victim__augment="supervised")
    with pytest.raises(UserError, match="'supervised' takes 1 view.*'mild' makes 2"):
        recipe(tmp_path, victim__objective="supervised")


def test_a_stealer_sees_one_view(tmp_path):
    # Catches the second recipe of a pair in what determines the stealer.
    (theft,) = resolve(tiny.config(steal__augment="barlow_cifar"), tmp_path).thefts
    first = json.dumps([PRESETS["barlow_cifar"][0]._asdict()])
    assert theft.steal.recipe["augment"] == json.loads(first)


def test_learning_rate_per_256_images(tmp_path):
    # Catches a rate scaled by the batch asked for and not by the one trained on, or
    # scaled where it should not be.
    plain = recipe(tmp_path)["optim"]
    assert plain["learning_rate"] == 2e-3
    r = recipe(tmp_path, victim__optim__learning_rate_per_256=True)
    assert r["optim"]["learning_rate"] == 2e-3 * 128 / 256
    assert "learning_rate_per_256" not in r["optim"]
    r = recipe(
        tmp_path,
        victim__optim__learning_rate_per_256=True,
        victim__batch_size=10**6,
    )
    assert r["optim"]["learning_rate"] == pytest.approx(2e-3 * r["batch_size"] / 256)
    assert r["batch_size"] < 10**4


@pytest.mark.slow
def test_a_projector_with_statistics_is_served(tmp_path, monkeypatch):
    # Catches a head rebuilt with other layers, without its running statistics or with
    # the batch's, and a predictor that is loaded or applied with it.
    monkeypatch.setitem(PRESETS, "two", PRESETS["none"] * 2)
    config = tiny.config(
        victim__objective="simsiam", victim__augment="two", victim__steps=3
    )
    config.victim.objective_kw.simsiam.hidden = 12
    config.victim.objective_kw.simsiam.projection = 8
    experiment = resolve(config, tmp_path)
    run = experiment.members[0].victim
    victim.make(run, experiment.context)
    images = data.load("digits", "test").images[:20]
    opened = sslx.open_run(run.path)
    x, got = opened.embed(images), opened.embed(images, "projection")
    t = make_training(run, make_objective(run.recipe), {})
    example = {
        "images": jax.ShapeDtypeStruct((4, *run.recipe["image_shape"]), np.uint8)
    }
    like = jax.eval_shape(
        lambda b: init_state(t.objective, t.optimiser, t.seed, b), example
    )
    state = jax.device_get(checkpoint.load(run.path, "state", like))
    params, stats = (tree["projector"] for tree in (state.params, state.stats))
    for i in (1, 2, 3):
        dense, norm = params[f"dense{i}"], params.get(f"norm{i}")
        seen = stats[f"norm{i}"]
        x = (x @ dense["kernel"] - seen["mean"]) / np.sqrt(seen["var"] + 1e-5)
        if norm is not None:
            x = np.maximum(x * norm["scale"] + norm["bias"], 0)
    np.testing.assert_allclose(got, x, rtol=1e-3, atol=1e-4)
    assert np.abs(stats["norm1"]["mean"]).max() > 1e-4  # they did move
