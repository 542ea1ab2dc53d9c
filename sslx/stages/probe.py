"""Stage probe: one protocol for every encoder, on the full test split.

Each encoder and data set is a run of its own, so experiments that share a victim share
its figures.
"""

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.engine.rng import stream
from sslx.engine.rundir import Run, working_on, write_meta
from sslx.evals.intervals import wilson
from sslx.evals.knn import knn
from sslx.evals.linear import probe as linear_probe
from sslx.models import make_encoder
from sslx.stages.experiment import Experiment
from sslx.stages.link import embedder, open_run, untrained
from sslx.stages.recipes import reading
from sslx.stages.splits import divide


def run(experiment: Experiment, config: ConfigDict) -> None:
    """Probes every encoder on every data set of the config."""
    for probe in experiment.probes:
        with working_on(probe.run, f"{probe.encoder} on {probe.dataset}") as needed:
            if needed:
                results = _evaluate(probe.run, probe.dataset, reading(config))
                write_meta(probe.run, finished=True, results=results)


def _embedding(run: Run, train_images: np.ndarray):
    """``embed`` of the encoder that the run is about."""
    if "encoder" in run.parents:
        return open_run(run.parents["encoder"].path).embed
    r = run.recipe
    if "untrained" not in r:  # raw pixels
        return lambda images: images.reshape(len(images), -1).astype(np.float32) / 255
    meta = r["untrained"]
    encoder = make_encoder(meta["encoder"]["name"], **meta["encoder"]["kw"])
    how = {"mean": meta["mean"], "std": meta["std"]}
    key = stream(meta["seed"], "untrained")
    variables = untrained(encoder, key, train_images, **how)
    return embedder(encoder, variables, image_shape=tuple(r["image_shape"]), **how)


def _evaluate(run: Run, dataset: str, options: data.Options) -> list[dict]:
    """Accuracies of the linear probe and of kNN, as results.json has them."""
    r = run.recipe
    train, test = (data.load(dataset, split, options) for split in ("train", "test"))
    if r["test_kept"] is not None:  # the rest of the test split was for sale
        ids = data.ids(dataset, "test", options)
        _, kept = divide(ids, r["test_kept"], r["split_seed"])
        test = type(test)(test.images[kept], test.labels[kept])
    embed = _embedding(run, train.images)
    classes = data.describe(dataset, options).classes
    features = embed(train.images), train.labels, embed(test.images)
    linear = linear_probe(
        *features,
        classes=classes,
        l2_grid=tuple(r["l2_grid"]),
        validation_fraction=r["validation"],
        tolerance=r["tolerance"],
        max_iterations=r["max_iterations"],
        seed=r["split_seed"] or 0,  # with None, the last ones are the test's
        groups=data.ids(dataset, "train", options),
    )
    neighbours = knn(
        *features, classes=classes, k=r["knn_k"], temperature=r["knn_temperature"]
    )
    chosen = {
        "l2": linear.l2,
        "l2_at_edge": linear.at_edge,
        "converged": linear.converged,
    }
    rows = []
    for evaluator, predictions, more in (
        ("linear", linear.predictions, chosen),
        ("knn", neighbours, {}),
    ):
        right = int(np.sum(predictions == test.labels))
        n = len(test.labels)
        rows.append(
            {
                "dataset": dataset,
                "evaluator": evaluator,
                "accuracy": right / n,
                "interval": list(wilson(right, n, confidence=r["confidence"])),
                "n_test": n,
                **more,
            }
        )
    return rows
