"""Stage classifier: what answers with class probabilities or a label.

A victim trained without labels gets a linear probe, fitted on the victim's own training
images (not on those held out for the attacker, not on test images). One trained with
labels answers with the classifier it was trained with. Either becomes a run of its own,
a softmax regression on the victim's features.

Imported weights come without a training set; their probe is fitted on the training
images of ``victim.dataset`` that are not held out: whoever sells labels has a set that
says what the labels are, whatever the encoder learnt from. Of an API nothing is known
but its answers, so it is refused.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.context import Context
from sslx.data.splits import divide
from sslx.embed.classifier import FILE
from sslx.embed.finished import open_run
from sslx.evals.linear import probe as linear_probe
from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.runs.files import read_json, replacing, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.train import checkpoint
from sslx.types import refuse_if


def make(run: Run, context: Context) -> None:
    """Makes the classifier: ``classifier.npz``, its digest in meta.json."""
    kinds = {"head": _of_head, "probe": _of_probe}
    what = {"head": "what the victim was trained with", "probe": "a linear probe"}
    with working_on(run, what[run.recipe["kind"]]) as needed:
        if needed:
            arrays, facts = kinds[run.recipe["kind"]](run, context)
            with replacing(run.path / FILE) as file:
                np.savez(file, **arrays)
            write_meta(run, finished=True, digest=checkpoint.digest(arrays), **facts)


def _of_probe(run: Run, context: Context) -> tuple[dict, dict]:
    """The linear probe of ``evals.linear``, and how it was chosen."""
    r, place = run.recipe, context.place(run.recipe["data"])
    ids, split = place.ids("train"), place.load("train")
    if "shipped" in r:
        rows = np.flatnonzero(~place.unseen(r["shipped"]))
    else:
        rows, _ = divide(ids, r["held_out"], r["split_seed"])  # as the victim's own
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


def _of_head(run: Run, context: Context) -> tuple[dict, dict]:
    """The classifier that the victim was trained with, from the victim's checkpoint."""
    path = run.parents["victim"].path
    meta = read_json(path / "meta.json")
    refuse_if(
        "classifier" not in meta["weights"]["digests"],
        f"{path} was trained when classifiers were not kept yet; delete it to "
        "train it again",
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
