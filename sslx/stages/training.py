"""What the training stages share."""

import numpy as np
from ml_collections import ConfigDict

from sslx.build import optimiser_of, seed_of
from sslx.runs.names import Run
from sslx.train.fit import Loop, Training
from sslx.types import Objective


def make_training(
    run: Run, objective: Objective, arrays: dict[str, np.ndarray]
) -> Training:
    """What the engine needs, from a run's recipe."""
    r = run.recipe
    optimiser, schedule = optimiser_of(r)
    return Training(
        objective=objective,
        optimiser=optimiser,
        schedule=schedule,
        data=arrays,
        seed=seed_of(r),
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
