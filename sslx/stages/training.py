"""What the training stages share: from a run's recipe to its finished checkpoint."""

from typing import Any

import numpy as np

from sslx.build import optimiser_of, seed_of
from sslx.context import Context
from sslx.runs.files import write_meta
from sslx.runs.names import Run
from sslx.stages.flops import answers_flops, unlabelled_flops
from sslx.train import checkpoint
from sslx.train.fit import Training, Watch, fit
from sslx.types import Objective


def make_training(
    run: Run, objective: Objective, arrays: dict[str, np.ndarray]
) -> Training:
    """What the loop needs, from a run's recipe and what its objective uses."""
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


def train(
    run: Run,
    objective: Objective,
    arrays: dict[str, np.ndarray],
    context: Context,
    watch: Watch | None = None,
) -> None:
    """Trains a run that is held, to its end, and seals its weights.

    meta.json gets what ``open_run`` rebuilds the encoder from, if the run has one, and
    ``flops``, what the training cost (see ``stages/flops.py``).
    """
    r = run.recipe
    meta: dict[str, Any] = {}
    if "encoder" in r:  # a head can be trained alone
        keys = ("encoder", "image_shape", "mean", "std")
        # What sits on a trunk that was trained on answers is no projection head.
        head = None if "responses" in run.parents else objective.head
        meta = {key: r[key] for key in keys} | {"head": head}
    write_meta(run, finished=False, **meta)
    used = {name: arrays[name] for name in objective.uses}
    fit(make_training(run, objective, used), run.path, context.loop, watch)
    if "responses" in run.parents:
        flops = answers_flops(r, run.parents["responses"].recipe)
    else:
        flops = unlabelled_flops(r, objective.views)
    write_meta(run, finished=True, weights=checkpoint.seal(run.path), flops=flops)
