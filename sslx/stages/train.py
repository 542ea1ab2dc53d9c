"""What the training stages share: from a recipe to the engine."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sslx.data.augment import Recipe, augment_batch
from sslx.engine.fit import Loop, Training
from sslx.engine.optim import make_optimiser
from sslx.engine.rundir import Run
from sslx.stages.link import normalise
from sslx.types import Objective


def make_view(recipe: dict):
    """``view(key, images)``: a random view of each uint8 image, normalised."""
    # JSON has made lists of the tuples.
    numbers: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in recipe["augment"].items()
    }
    preset = Recipe(**numbers)

    def view(key: jax.Array, images: jax.Array) -> jax.Array:
        views = augment_batch(key, images, preset)
        return normalise(views, recipe["mean"], recipe["std"])

    return view


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
