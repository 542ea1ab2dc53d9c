"""What the training stages share: from a run's recipe to its finished checkpoint."""

from typing import Any

import numpy as np

from sslx.attacks import attack_of
from sslx.build import optimiser_of, seed_of
from sslx.context import Context
from sslx.models.flops import forward_flops
from sslx.runs.files import write_meta
from sslx.runs.names import Run
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
    ``flops``, an estimate of what the training cost: three times the forward passes of
    the encoder over all images seen (a backward pass takes twice a forward one). Left
    out are losses, heads (but for one that is a run of its own), augmentation, the
    second forward pass of methods with a moving average, and the victim's answering.
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
        flops = _answers_flops(r, run.parents["responses"].recipe)
    else:
        flops = _unlabelled_flops(r, objective.views)
    write_meta(run, finished=True, weights=checkpoint.seal(run.path), flops=flops)


def _unlabelled_flops(recipe: dict[str, Any], views: int) -> float | None:
    """Of a victim, or of what a stealer trains on its pool.

    Args:
        recipe: The run's.
        views: Of an image in a step, ``Objective.views``.
    """
    forward = forward_flops(recipe["encoder"], recipe["image_shape"])
    if forward is None:
        return None
    return 3 * forward * _seen(recipe) * views


def _answers_flops(recipe: dict[str, Any], responses: dict[str, Any]) -> float | None:
    """Of a training on answers.

    Args:
        recipe: The stealer's, or that of its head, which has no encoder.
        responses: That of the answers: each view asked is a pass of its own, unless
            the attack says how many it makes.
    """
    numbers = recipe["attack_numbers"]
    views = responses["views"]
    if "encoder" not in recipe:
        if not {"hidden", "projection"} <= numbers.keys():
            return None  # the head of an attack of one's own
        wide = responses["dim"]
        hidden = numbers["hidden"] or wide
        forward: float | None = 2.0 * hidden * (wide + numbers["projection"])
    else:
        forward = forward_flops(recipe["encoder"], recipe["image_shape"])
        views = attack_of(recipe["attack"]).passes(numbers, views)
    return None if forward is None else 3 * forward * _seen(recipe) * views


def _seen(recipe: dict[str, Any]) -> int:
    return recipe["batch_size"] * recipe["steps"]
