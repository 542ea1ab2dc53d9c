"""What the training stages share: from a run's recipe to its finished checkpoint."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sslx import hosts
from sslx.build import optimiser_of, passes_of, seed_of
from sslx.context import Context
from sslx.models.flops import forward_flops
from sslx.runs.files import write_meta
from sslx.runs.names import Run
from sslx.train import checkpoint
from sslx.train.fit import Training, Watch, fit
from sslx.train.step import State
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
    judge: Callable[[State], dict[str, Any]] | None = None,
) -> None:
    """Trains a run that is held, to its end, and seals its weights.

    meta.json gets what ``open_run`` rebuilds the encoder from, if the run has one, and
    what the training cost: ``images``, the different ones that it had; ``passes``, the
    views that went through the encoder, None where there is none; ``flops``, an
    estimate: three times the forward passes (a backward one takes twice a forward
    one). Left out are losses, heads (but for one that is a run of its own),
    augmentation, the second forward pass of methods with a moving average, and the
    victim's answering. ``held_back`` is what ``judge`` says of the last state, in the
    first process alone.
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
    state = fit(make_training(run, objective, used), run.path, context.loop, watch)
    judged = {"held_back": hosts.share(lambda: judge(state))} if judge else {}
    cost = {"images": len(next(iter(used.values()))), "passes": passes_of(run)}
    write_meta(
        run,
        finished=True,
        weights=checkpoint.seal(run.path),
        **cost,
        flops=flops_of(run),
        **judged,
    )


def flops_of(run: Run) -> float | None:
    """What a training costs: three times its forward passes; None where unknown."""
    r, passes = run.recipe, passes_of(run)
    if passes is not None:
        forward = forward_flops(r["encoder"], r["image_shape"])
        return None if forward is None else 3 * forward * passes
    # A head on answers alone; what that of an attack of one's own costs is unknown.
    numbers, asked = r["attack_numbers"], run.parents["responses"].recipe
    if not {"hidden", "projection"} <= numbers.keys():
        return None
    wide, seen = asked["dim"], r["batch_size"] * r["steps"] * asked["views"]
    hidden = numbers["hidden"] or wide
    return 3 * 2.0 * hidden * (wide + numbers["projection"]) * seen
