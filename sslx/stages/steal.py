"""Stage steal: ask within the budget, then train the stealer on the stored answers."""

from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sslx import hosts
from sslx.attacks.matching import cluster_labels, make_match
from sslx.build import make_head, make_objective, make_theft
from sslx.embed.finished import head_of, open_run
from sslx.experiment.experiment import Experiment
from sslx.experiment.pools import open_pool
from sslx.experiment.thefts import OWN, Cell
from sslx.losses import loss_of
from sslx.registry import traits_of
from sslx.runs.files import is_finished, save_array, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages import classifier
from sslx.stages.query import Answered, answered, ask
from sslx.stages.training import encoder_meta, make_loop, make_training
from sslx.stages.work import Work, once
from sslx.train import checkpoint
from sslx.train.fit import fit
from sslx.types import Objective


def works(experiment: Experiment, config: ConfigDict) -> list[Work]:
    """What the cells need, each in order, the headline first; what they share once."""
    found = []
    for cell in experiment.cells:
        found += _before(cell, config)
        found.append(Work((cell.steal,), partial(train, cell, config)))
    return once(found)


def _before(cell: Cell, config: ConfigDict) -> list[Work]:
    asked, fitted = cell.responses, None
    # The provider's part ends with the answers. One process looks for all.
    if asked and not hosts.share(lambda: is_finished(asked)):
        fitted = asked.parents.get("classifier")
    each = (
        ((cell.ssl,), _train_ssl),
        ((fitted, asked), _ask),
        ((cell.head,), _train_head),
    )
    found = [(tuple(filter(None, runs)), do) for runs, do in each]
    return [Work(runs, partial(do, cell, config)) for runs, do in found if runs]


def _ask(cell: Cell, config: ConfigDict) -> None:
    """Asks the victim; fits the provider's classifier before, if that answers."""
    run = cell.responses
    assert run is not None
    if not hosts.share(lambda: is_finished(run)) and "classifier" in run.parents:
        classifier.make(run.parents["classifier"], config)
    ask(cell, config)


def _carry_out(
    run: Run,
    objective: Objective,
    arrays: dict[str, np.ndarray],
    config: ConfigDict,
    **meta: Any,
) -> None:
    """Trains a run on those of the arrays that its objective uses."""
    write_meta(run, finished=False, **meta)
    used = {name: arrays[name] for name in objective.uses}
    fit(make_training(run, objective, used), run.path, make_loop(config))
    write_meta(run, finished=True, weights=checkpoint.seal(run.path))


def _train_ssl(cell: Cell, config: ConfigDict) -> None:
    """Trains the stealer's network on its pool, without a query."""
    run = cell.ssl
    assert run is not None
    r = run.recipe
    what = f"{r['objective']} on the pool, {r['steps']} steps, no query"
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        objective = make_objective(r)
        images = open_pool(config, cell.pool, r["test_kept"]).load()
        meta = encoder_meta(run, objective.head)
        _carry_out(run, objective, {"images": images}, config, **meta)


def _train_head(cell: Cell, config: ConfigDict) -> None:
    """Trains the projection head that the stealer is compared through."""
    run = cell.head
    assert run is not None
    what = f"a projection head on {cell.queries} answers"
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        answers = answered(cell, config).answers
        objective = make_head(run.recipe, answers.shape[-1])
        _carry_out(run, objective, {"answers": answers}, config)


def train(cell: Cell, config: ConfigDict) -> None:
    """Trains a cell's stealer on the answers, which must be there."""
    run = cell.steal
    if cell.responses is None:  # trained without
        return
    name = cell.attack if cell.loss == OWN else f"{cell.attack}, {cell.loss}"
    what = f"{name} on {cell.queries} answers, {run.recipe['steps']} steps"
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        found = answered(cell, config)
        arrays: dict[str, np.ndarray] = found._asdict()
        given: dict[str, Any] = {}
        if cell.loss != OWN:
            numbers = run.recipe["numbers"]
            given["match"] = make_match(cell.loss, numbers, found.answers)
            if traits_of(loss_of(cell.loss)).labels:
                arrays["labels"] = _labels(cell, config, found)
        if "ssl" in run.parents:
            given["trunk"] = open_run(run.parents["ssl"].path).variables()["encoder"]
        if cell.head is not None:
            given["head"] = head_of(cell.head.path)
        asked = cell.responses.recipe
        objective = make_theft(run.recipe, asked["dim"], asked["classes"], **given)
        _carry_out(run, objective, arrays, config, **encoder_meta(run, None))


def _labels(cell: Cell, config: ConfigDict, found: Answered) -> np.ndarray:
    """The classes that the loss takes: the true ones, or clusters of the answers.

    Clusters are made once, by the first process, and written down: elsewhere their
    sums are rounded otherwise, and an image may fall to another.
    """
    r, path = cell.steal.recipe, cell.steal.path / "labels.npy"

    def make() -> None:
        if not path.exists():
            made = cluster_labels(found.answers, clusters, r["seed"])
            save_array(path, made)

    if clusters := r["numbers"]["labels"]:
        hosts.share(make)
        return np.load(path, allow_pickle=False)
    assert cell.responses is not None
    pool = open_pool(config, cell.pool, cell.responses.recipe["test_kept"])
    assert pool.labels is not None
    return pool.labels()[found.rows].astype(np.int32)
