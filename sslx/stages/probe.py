"""Stage probe: one protocol for every encoder, on the full test split."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sslx.context import Context, kept_rows
from sslx.evals.intervals import effective_size, wilson
from sslx.evals.knn import knn
from sslx.evals.linear import ProbeResult, few, few_labelled
from sslx.evals.linear import probe as linear_probe
from sslx.evals.reference import BATCH, TEST_BATCH, TEST_IMAGES, reference_probe
from sslx.evals.svm import kernel_svm
from sslx.evals.uneven import balanced_accuracy, majority
from sslx.runs.files import replacing, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages import features
from sslx.types import UserError

PREDICTIONS = "predictions.npz"


def make(run: Run, context: Context) -> None:
    """Probes the features of one encoder on one data set."""
    place = context.place(run.recipe["data"])
    with working_on(run, f"on {place.title}") as needed:
        if not needed:
            return
        found, notes = _evaluate(run, context)
        arrays: dict[str, Any] = dict(found)
        labels = found.pop("labels")
        with replacing(run.path / PREDICTIONS) as file:
            np.savez_compressed(file, **arrays)
        groups = place.ids("test")[kept_rows(run.recipe, context)]

        def rows(found: dict[str, np.ndarray], notes: dict[str, dict]) -> list[dict]:
            return [
                row | notes.get(row["evaluator"], {})
                for name, predicted in found.items()
                for row in _rows(run, place.title, name, predicted, labels, groups)
            ]

        more = {}
        if run.recipe.get("uneven"):
            most = majority(place.load("train").labels)
            more["majority"] = rows(
                {k: np.full_like(v, most) for k, v in found.items()}, {}
            )
        write_meta(run, finished=True, results=rows(found, notes), **more)


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


def _rows(run, dataset, evaluator, predicted, labels, groups) -> Iterator[dict]:
    """Rows of meta.json; a probe of the last test images predicts only those.

    Where classes are uneven the linear probe has one more, over classes alike.
    """
    n = len(predicted)
    labels = labels[-n:]
    right = predicted == labels
    size, level = effective_size(right, groups[-n:]), run.recipe["confidence"]
    figures = {evaluator: (float(right.mean()), size)}
    if evaluator == "linear" and run.recipe.get("uneven"):
        accuracy, worth = balanced_accuracy(right, labels)
        figures["linear_balanced"] = accuracy, worth * size / n
    for name, (accuracy, size) in figures.items():
        interval = wilson(accuracy * n, n, confidence=level, effective=size)
        yield {
            "dataset": dataset,
            "evaluator": name,
            "accuracy": accuracy,
            "interval": list(interval),
            "n_test": n,
            **({"effective_n": size} if size < n else {}),
        }


def _notes(result: ProbeResult) -> dict:
    # Of one picture a class each that is held out leaves none: all strengths are wrong.
    undecided = len(set(result.validation_accuracy.values())) == 1
    return {
        "l2": result.l2,
        "l2_at_edge": result.at_edge,
        "l2_undecided": undecided,
        "converged": result.converged,
    }


def _evaluate(
    run: Run, context: Context
) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Predictions of each evaluator, with the labels, and what is to note of them."""
    r, of = run.recipe, run.parents["features"]
    place, kept = context.place(r["data"]), kept_rows(run.recipe, context)
    labels, tested = (place.load(split).labels for split in features.SPLITS)
    train, test = (features.load(of, split, context) for split in features.SPLITS)
    test = test[kept]
    groups = place.ids("train")
    classes = place.describe().classes
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
        solved[few_labelled(share)] = linear(chosen, few_rows=True)
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
            features.by_batch_statistics(of, "train", BATCH, context),
            labels,
            features.by_batch_statistics(of, "test", TEST_BATCH, context, last),
            classes=classes,
            learning_rate=r["reference"],
            seed=seed,
        )
    notes = {name: _notes(result) for name, result in solved.items()}
    if r.get("svm"):
        how = {"validation_fraction": r["validation"], "seed": seed, "groups": groups}
        machine = kernel_svm(train, labels, test, **how)
        found["svm"] = machine.predictions
        flaws = {"l2_at_edge": machine.at_edge, "l2_undecided": machine.undecided}
        notes["svm"] = {"penalty": machine.penalty} | flaws
    found["labels"] = tested[kept]
    return found, notes
