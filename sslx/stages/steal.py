"""Stage steal: what an attacker trains, without answers and on them.

Three kinds of runs: the stealer's network trained without labels on the pool (``ssl``),
a projection head trained on answers, and the stealer itself. Each knows from its recipe
which it is; the victim is not touched any more.
"""

from typing import Any

import numpy as np

from sslx import hosts
from sslx.attacks.attack import OWN
from sslx.attacks.matching import cluster_labels, make_match
from sslx.build import make_head, make_objective, make_theft
from sslx.context import Context, pool
from sslx.embed.finished import head_of, open_run
from sslx.losses import loss_of
from sslx.registry import traits_of
from sslx.runs.files import save_array
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages.answers import Answered, answered, unanswered
from sslx.stages.cleaned import cleaned
from sslx.stages.held_back import Own, by_answers, by_own_loss, held_back
from sslx.stages.training import train
from sslx.types import Objective


def make(run: Run, context: Context) -> None:
    """Trains what the run's recipe says; the answers it builds on must be there."""
    r = run.recipe
    with working_on(run, _purpose(r), together=True) as needed:
        if not needed:
            return
        if "responses" not in run.parents:
            own = Own(*unanswered(run, context))
            own, judge = held_back(run, own, context, by_own_loss)
            objective, arrays = make_objective(r), {"images": own.images}
        else:
            found = cleaned(run, answered(run.parents["responses"], context))
            found, judge = held_back(run, found, context, by_answers)
            if "loss" in r:
                arrays, objective = _stealer(run, found, context)
            else:  # a head sees no image that it could be judged on
                arrays, judge = {"answers": found.answers}, None
                objective = make_head(r, found.answers.shape[-1])
        train(run, objective, arrays, context, judge=judge)


def _purpose(r: dict[str, Any]) -> str:
    """What a training is, for the log."""
    if "objective" in r:
        what = f"{r['objective']} on the pool, no query"
    elif "loss" in r:
        what = r["attack"] if r["loss"] == OWN else f"{r['attack']}, {r['loss']}"
    else:
        what = "a projection head"
    return f"{what}, {r['steps']} steps"


def _stealer(
    run: Run, found: Answered, context: Context
) -> tuple[dict[str, np.ndarray], Objective]:
    """What a stealer trains on, and its objective."""
    r, asked = run.recipe, run.parents["responses"].recipe
    arrays: dict[str, np.ndarray] = found._asdict()
    given: dict[str, Any] = {}
    if r["loss"] != OWN:
        given["match"] = make_match(r["loss"], r["numbers"], found.answers)
        if traits_of(loss_of(r["loss"])).labels:
            arrays["labels"] = _labels(run, found, context)
    if "ssl" in run.parents:
        given["trunk"] = open_run(run.parents["ssl"].path).variables()["encoder"]
    if "head" in run.parents:
        given["head"] = head_of(run.parents["head"].path)
    return arrays, make_theft(
        r, r.get("clean_dim", asked["dim"]), asked["classes"], **given
    )


def _labels(run: Run, found: Answered, context: Context) -> np.ndarray:
    """The classes that the loss takes: the true ones, or clusters of the answers.

    Clusters are made once, by the first process, and written down: elsewhere their
    sums are rounded otherwise, and an image may fall to another.
    """
    r, path = run.recipe, run.path / "labels.npy"

    def make_clusters() -> None:
        if not path.exists():
            made = cluster_labels(found.answers, clusters, r["seed"])
            save_array(path, made)

    if clusters := r["numbers"]["labels"]:
        hosts.share(make_clusters)
        return np.load(path, allow_pickle=False)
    labels = pool(run.parents["responses"].recipe, context).labels
    assert labels is not None  # looked at when the config was read
    return labels()[found.rows].astype(np.int32)
