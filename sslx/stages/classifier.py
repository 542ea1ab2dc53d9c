"""The victim as a classifier: class probabilities or a label in place of features.

A victim trained without labels gets a linear probe, fitted on the victim's own training
images (not on those held out for the attacker, not on test images). One trained with
labels answers with the classifier it was trained with. Either becomes a run of its own,
a softmax regression on the victim's features.

Imported weights come without a training set; their probe is fitted on the training
images of ``victim.dataset`` that are not held out: whoever sells labels has a set that
says what the labels are, whatever the encoder learnt from. Of an API nothing is known
but its answers, so it is refused.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8
from ml_collections import ConfigDict
from scipy.special import softmax

from sslx import data
from sslx.data.sources.npz import read_arrays
from sslx.data.splits import divide
from sslx.embed import foreign
from sslx.embed.finished import open_run
from sslx.evals.linear import probe as linear_probe
from sslx.experiment.recipes import check_solver, reading
from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.runs.files import read_json, replacing, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run, make_run
from sslx.train import checkpoint
from sslx.types import UserError

FILE = "classifier.npz"
OUTPUTS = ("probabilities", "label")  # of the service, that need a classifier

Classify = Callable[[np.ndarray], np.ndarray]


def classifier_run(config: ConfigDict, victim: Run) -> Run:
    """The run that makes a classifier of a victim.

    Raises:
        UserError: The victim is an API's, or its data set has a single class.
    """
    r, slug = victim.recipe, victim.name.rpartition("-")[0]
    if r.get("origin") in foreign.KINDS:
        raise UserError(
            f"service.output={config.service.output!r} needs a victim that was trained "
            "here or brought as weights (victim.weights): an API's answers with "
            "nothing but its representation; write service.output='representation'"
        )
    if r.get("objective") == "supervised":
        recipe = {"kind": "head", "classes": r["classes"]}
        return make_run(
            victim.workdir, "classifier", f"head-{slug}", recipe, {"victim": victim}
        )
    check_solver("service.classifier", config.service.classifier)
    name = config.victim.dataset
    info = data.describe(name, reading(config))
    if info.classes < 2:
        raise UserError(
            f"service.output={config.service.output!r} needs classes, and "
            f"victim.dataset={name!r} has {info.classes}; write 'representation'"
        )
    recipe = {
        "kind": "probe",
        "data": info.identity,
        "held_out": config.data.held_out,
        "split_seed": config.data.split_seed,
        "classes": info.classes,
        **config.service.classifier.to_dict(),
    }
    return make_run(
        victim.workdir, "classifier", f"probe-{slug}", recipe, {"victim": victim}
    )


def make(run: Run, config: ConfigDict) -> None:
    """Makes the classifier: ``classifier.npz``, its digest in meta.json."""
    kinds = {"head": _of_head, "probe": _of_probe}
    what = {"head": "what the victim was trained with", "probe": "a linear probe"}
    with working_on(run, what[run.recipe["kind"]]) as needed:
        if needed:
            arrays, facts = kinds[run.recipe["kind"]](run, config)
            with replacing(run.path / FILE) as file:
                np.savez(file, **arrays)
            write_meta(run, finished=True, digest=checkpoint.digest(arrays), **facts)


def _of_probe(run: Run, config: ConfigDict) -> tuple[dict, dict]:
    """The linear probe of ``evals.linear``, and how it was chosen."""
    r, name, options = run.recipe, config.victim.dataset, reading(config)
    ids = data.ids(name, "train", options)
    rows, _ = divide(ids, r["held_out"], r["split_seed"])  # as the victim's own
    split = data.load(name, "train", options)
    features = open_run(run.parents["victim"].path).embed(split.images[rows])
    found = linear_probe(
        features,
        split.labels[rows],
        features[:0],  # nothing to predict here
        classes=r["classes"],
        l2_grid=tuple(r["l2_grid"]),
        validation_fraction=r["validation"],
        tolerance=r["tolerance"],
        max_iterations=r["max_iterations"],
        seed=r["split_seed"] or 0,  # with None, the last ones are the attacker's
        groups=ids[rows],
    )
    facts = {
        "images": len(rows),
        "l2": found.l2,
        "l2_at_edge": found.at_edge,
        "converged": found.converged,
        "validation_accuracy": found.validation_accuracy[found.l2],
    }
    arrays = {"weights": found.solution.weights, "bias": found.solution.bias}
    return arrays | {"mean": found.mean, "scale": found.scale}, facts


def _of_head(run: Run, config: ConfigDict) -> tuple[dict, dict]:
    """The classifier that the victim was trained with, from the victim's checkpoint."""
    path = run.parents["victim"].path
    meta = read_json(path / "meta.json")
    if "classifier" not in meta["weights"]["digests"]:
        raise UserError(
            f"{path} was trained when classifiers were not kept yet; delete it to "
            "train it again"
        )
    kw = meta["encoder"]["kw"]
    dim = make_encoder(meta["encoder"]["name"], **kw).dim
    init, _ = make_mlp((run.recipe["classes"],), dtype=kw["dtype"])
    features = jax.ShapeDtypeStruct((1, dim), jnp.float32)
    params, _ = jax.eval_shape(init, jax.random.key(0), features)
    like = {"params": {"classifier": params}}
    loaded = checkpoint.load(path, "classifier", like, sealed=meta["weights"])
    layer = jax.device_get(loaded)["params"]["classifier"]["dense1"]
    arrays = {"weights": layer["kernel"], "bias": layer["bias"]}
    return arrays | {"mean": np.zeros(dim), "scale": np.ones(dim)}, {}


def classify(run: Run) -> Classify:
    """A finished classifier: uint8 images (n, h, w, c) to probabilities.

    Returns:
        ``images -> float32 (n, k)``; each row is 0 or more and sums to 1.

    Raises:
        UserError: The file is damaged, or not what the run ended with.
    """
    arrays = _read(run)
    weights, bias = arrays["weights"], arrays["bias"]
    mean, scale = arrays["mean"], arrays["scale"]
    embed = open_run(run.parents["victim"].path).embed

    def probabilities(
        images: UInt8[np.ndarray, "n h w c"],
    ) -> Float32[np.ndarray, "n k"]:
        logits = ((embed(images) - mean) * scale) @ weights + bias
        return softmax(logits, axis=1).astype(np.float32)

    return probabilities


def _read(run: Run) -> dict[str, np.ndarray]:
    file, sealed = run.path / FILE, read_json(run.path / "meta.json").get("digest")
    try:
        arrays = read_arrays(file)
        intact = checkpoint.digest(arrays) == sealed
    except ValueError:
        intact = False
    if not intact:
        raise UserError(f"{file} is damaged; delete {run.path} to make it again")
    return arrays


def answering(victim: Run, classifier: Run | None, output: str) -> Classify:
    """What a service answers with: uint8 (n, h, w, c) to float32 (n, width).

    Args:
        victim: The victim's run, finished.
        classifier: Its classifier's, finished, for the outputs in ``OUTPUTS``.
        output: "probabilities" (n, k); "label" (n, 1), the class of the greatest; or
            what ``OpenRun.embed`` knows.
    """
    if output not in OUTPUTS:
        return partial(open_run(victim.path).embed, output=output)
    if classifier is None:
        raise ValueError(f"{output!r} without a classifier's run")
    probabilities = classify(classifier)

    def label(images: np.ndarray) -> np.ndarray:
        return probabilities(images).argmax(1)[:, None].astype(np.float32)

    return probabilities if output == "probabilities" else label
