"""Stage probe: one protocol for every encoder, on the full test split.

Features, probe and comparison with the victim are runs of their own for each encoder
and data set, so experiments that share a victim share its figures.
"""

from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.evals.fidelity import fidelity
from sslx.evals.intervals import effective_size, wilson
from sslx.evals.knn import knn
from sslx.evals.linear import ProbeResult, few
from sslx.evals.linear import probe as linear_probe
from sslx.evals.reference import BATCH, TEST_BATCH, TEST_IMAGES, reference_probe
from sslx.experiment.experiment import Experiment
from sslx.experiment.probes import Probe
from sslx.experiment.recipes import reading
from sslx.runs.files import read_json, replacing, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages import features
from sslx.stages.work import Work
from sslx.types import UserError

PREDICTIONS = "predictions.npz"


def works(experiment: Experiment, config: ConfigDict) -> list[Work]:
    """Features, probes and comparisons, of every encoder on every data set."""
    names = dict.fromkeys(p.dataset for p in experiment.probes)
    return [work for name in names for work in works_on(name, experiment, config)]


def works_on(dataset: str, experiment: Experiment, config: ConfigDict) -> list[Work]:
    """The same for one data set, which is best done for all encoders in a row."""
    own = [p for p in experiment.probes if p.dataset == dataset]
    steps = [(p.features, partial(features.make, p.features, dataset)) for p in own]
    steps += [(p.run, partial(_probe, p)) for p in own]
    steps += [(p.fidelity, partial(_compare, p)) for p in own if p.fidelity]
    return [Work((run,), partial(do, config=config)) for run, do in steps]


def kept_rows(run: Run, dataset: str, options: data.Options) -> np.ndarray:
    """The rows of the test split that figures are on: those that were not for sale."""
    ids, r = data.ids(dataset, "test", options), run.recipe
    if r["test_kept"] is None:
        return np.arange(len(ids))
    return divide(ids, r["test_kept"], r["split_seed"])[1]


def predictions(run: Run) -> dict[str, np.ndarray]:
    """Evaluator -> predicted classes of the test rows, and their ``labels``."""
    path = run.path / PREDICTIONS
    try:
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); delete {run.path} to "
            "probe again"
        ) from None


def _probe(probe: Probe, config: ConfigDict) -> None:
    run = probe.run
    with working_on(run, f"{probe.encoder} on {probe.dataset}") as needed:
        if not needed:
            return
        found, notes = _evaluate(run, probe.dataset, config)
        arrays: dict[str, Any] = dict(found)
        labels = found.pop("labels")
        with replacing(run.path / PREDICTIONS) as file:
            np.savez_compressed(file, **arrays)
        options = reading(config)
        kept = kept_rows(run, probe.dataset, options)
        groups = data.ids(probe.dataset, "test", options)[kept]
        rows = [
            _row(
                *(run, probe.dataset, name, predicted, labels, groups),
                notes.get(name, {}),
            )
            for name, predicted in found.items()
        ]
        write_meta(run, finished=True, results=rows)


def _row(run, dataset, evaluator, predicted, labels, groups, notes) -> dict:
    """A row of results.json; a probe of the last test images predicts only those."""
    n = len(predicted)
    right = predicted == labels[-n:]
    size, level = effective_size(right, groups[-n:]), run.recipe["confidence"]
    interval = wilson(int(right.sum()), n, confidence=level, effective=size)
    return {
        "dataset": dataset,
        "evaluator": evaluator,
        "accuracy": float(right.mean()),
        "interval": list(interval),
        "n_test": n,
        **({"effective_n": size} if size < n else {}),
        **notes,
    }


def _notes(result: ProbeResult) -> dict:
    return {
        "l2": result.l2,
        "l2_at_edge": result.at_edge,
        "converged": result.converged,
    }


def _evaluate(
    run: Run, dataset: str, config: ConfigDict
) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Predictions of each evaluator, with the labels, and what is to note of them."""
    r, options = run.recipe, reading(config)
    of = run.parents["features"]
    kept = kept_rows(run, dataset, options)
    train, test = (features.load(of, dataset, s, config) for s in features.SPLITS)
    test = test[kept]
    labels = data.load(dataset, "train", options).labels
    groups = data.ids(dataset, "train", options)
    classes = data.describe(dataset, options).classes
    seed = r["split_seed"] or 0  # with None, the last ones are the test's

    def linear(rows: np.ndarray | slice, few_rows: bool = False) -> ProbeResult:
        return linear_probe(
            *(train[rows], labels[rows], test),
            classes=classes,
            l2_grid=tuple(r["l2_grid"]),
            validation_fraction=r["validation"],
            tolerance=r["tolerance"],
            max_iterations=r["max_iterations"],
            seed=seed,
            groups=groups[rows],
            cross_validated=few_rows,
        )

    solved = {"linear": linear(slice(None))}
    for share in r["few_labels"]:
        chosen = few(labels, share, seed, groups)
        solved[f"linear_{share:g}"] = linear(chosen, few_rows=True)
    found = {name: result.predictions for name, result in solved.items()}
    found["knn"] = knn(
        *(train, labels, test),
        classes=classes,
        k=r["knn_k"],
        temperature=r["knn_temperature"],
    )
    if r["reference"]:
        last = kept[-TEST_IMAGES:]
        found["reference_probe"] = reference_probe(
            features.by_batch_statistics(of, dataset, "train", BATCH, config),
            labels,
            features.by_batch_statistics(of, dataset, "test", TEST_BATCH, config, last),
            classes=classes,
            learning_rate=r["reference"],
            seed=seed,
        )
    found["labels"] = data.load(dataset, "test", options).labels[kept]
    return found, {name: _notes(result) for name, result in solved.items()}


def _compare(probe: Probe, config: ConfigDict) -> None:
    """Compares an encoder with the victim, on test images and without labels."""
    run = probe.fidelity
    assert run is not None
    what = f"{probe.encoder} against the victim on {probe.dataset}"
    with working_on(run, what) as needed:
        if not needed:
            return
        options = reading(config)
        kept = kept_rows(run, probe.dataset, options)
        rows, voted = {}, {}
        for role, parent in run.parents.items():
            of = parent.parents["features"]
            rows[role] = features.load(of, probe.dataset, "test", config)[kept]
            voted[role] = predictions(parent)["linear"]
        found = fidelity(
            rows["victim"],
            rows["encoder"],
            rows.get("untrained"),
            predictions=(voted["victim"], voted["encoder"]),
            groups=data.ids(probe.dataset, "test", options)[kept],
            fit_fraction=run.recipe["fit"],
            k=run.recipe["neighbours"],
            rows=run.recipe["rows"],
            seed=run.recipe["split_seed"] or 0,
        )
        write_meta(run, finished=True, fidelity={"dataset": probe.dataset, **found})


def compared(run: Run) -> dict:
    """The measures of a finished fidelity run."""
    return read_json(run.path / "meta.json")["fidelity"]
