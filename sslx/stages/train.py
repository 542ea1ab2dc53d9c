"""What the training stages share: from a recipe to the engine."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sslx.attacks import ATTACKS
from sslx.data.augment import augment_batch
from sslx.data.presets import Recipe
from sslx.engine.fit import Loop, Training
from sslx.engine.optim import make_optimiser
from sslx.engine.rundir import Run
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.stages.link import normalise
from sslx.types import Objective, Task


def _recipe(numbers: dict[str, Any]) -> Recipe:
    # JSON has made lists of the tuples.
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()
    }
    return Recipe(**given)


def make_views(recipe: dict):
    """``views(key, images)``: random views (b, v, h, w, c) of uint8 images, normalised.

    As many as the preset has recipes. Batch-major, so that the axis which is split
    over the devices leads.
    """
    preset = [_recipe(numbers) for numbers in recipe["augment"]]

    def views(key: jax.Array, images: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(preset))
        each = [
            normalise(augment_batch(k, images, r), recipe["mean"], recipe["std"])
            for k, r in zip(keys, preset, strict=True)
        ]
        return jnp.stack(each, axis=1)

    return views


def make_objective(recipe: dict) -> Objective:
    """The training method that a victim's recipe calls for."""
    encoder = make_encoder(recipe["encoder"]["name"], **recipe["encoder"]["kw"])
    task = Task(recipe["encoder"]["kw"]["dtype"], recipe["steps"], recipe["classes"])
    build = OBJECTIVES[recipe["objective"]]
    return build(encoder, make_views(recipe), task, **recipe["numbers"])


def make_theft(attack: str, recipe: dict, answer_dim: int) -> Objective:
    """What an attack trains on answers (n, answer_dim), from a stealer's recipe."""
    kw = recipe["encoder"]["kw"]
    return ATTACKS[attack].objective(
        make_encoder(recipe["encoder"]["name"], **kw),
        make_views(recipe),
        partial(LOSSES[recipe["loss"]], **recipe["numbers"]),
        answer_dim=answer_dim,
        dtype=kw["dtype"],
    )


def make_training(
    run: Run, objective: Objective, arrays: dict[str, np.ndarray]
) -> Training:
    """What the engine needs, from a run's recipe."""
    r = run.recipe
    optim = {k: v for k, v in r["optim"].items() if k != "name"}
    optimiser, schedule = make_optimiser(r["optim"]["name"], steps=r["steps"], **optim)
    return Training(
        objective=objective,
        optimiser=optimiser,
        schedule=schedule,
        data=arrays,
        seed=r["seed"],
        steps=r["steps"],
        batch_size=r["batch_size"],
    )


def make_loop(config: ConfigDict) -> Loop:
    """How to carry a run out, from the config's engine section."""
    return Loop(**{name: config.engine[name] for name in Loop._fields})


def encoder_meta(run: Run, head: dict | None) -> dict:
    """What meta.json must hold for ``open_run`` to rebuild the encoder."""
    keys = ("encoder", "image_shape", "mean", "std")
    return {**{key: run.recipe[key] for key in keys}, "head": head}
