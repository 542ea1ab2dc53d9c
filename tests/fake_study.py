"""Finished runs made by hand: what a study's report reads, and nothing more."""

from sslx.runs.files import write_json, write_meta
from sslx.runs.names import make_run

ENCODER = {"name": "conv3", "kw": {"width": 8, "dtype": "float32"}}
SHAPE = [8, 8, 1]
LENGTH = {"batch_size": 4, "steps": 10}
N_TEST = 1000


def finished(workdir, stage, slug, recipe, parents, **meta):
    run = make_run(workdir, stage, slug, recipe, parents)
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.path / "config.json", run.recipe)
    write_meta(run, finished=meta.pop("finished", True), **meta)
    return run


def victim(workdir, seed, **more):
    recipe = {
        "seed": seed,
        "data": {"digits": {}},
        "image_shape": SHAPE,
        "mean": [0.0],
        "std": [1.0],
        "objective": "simclr",
        "numbers": {"temperature": 0.5, "hidden": 0, "projection": 8},
        "classes": 10,
        "encoder": ENCODER,
        "augment": [],
        **LENGTH,
        **more,
    }
    return finished(workdir, "victim", f"simclr-conv3-digits-s{seed}", recipe, {})


def steal(workdir, of, seed, *, loss="mse", queries=100, attack="direct", **more):
    """A stealer with the answers it paid for; of no victim (ssl_only) with of=None."""
    end = more.pop("finished", True)
    recipe = {"seed": seed, "attack": attack, "image_shape": SHAPE, "encoder": ENCODER}
    parents = {}
    if of is None:
        recipe |= {
            "objective": "simclr",
            "numbers": {"temperature": 0.5, "hidden": 0, "projection": 8},
            "classes": 0,
            "mean": [0.0],
            "std": [1.0],
            "augment": [],
        }
    else:
        asked = {"seed": seed, "queries": queries, "price": 0.002, "views": 1}
        counters = {"images": queries, "limit": queries, "cost": queries * 0.002}
        victim = {"victim": of}
        answers = finished(
            workdir, "responses", "r", asked | {"dim": 16}, victim, queries=counters
        )
        recipe |= {"attack_numbers": {"train_on": "asked"}, "loss": loss, "numbers": {}}
        parents = {"responses": answers}
    recipe |= LENGTH | more
    return finished(workdir, "steal", f"s{seed}", recipe, parents, finished=end)


def probe(workdir, encoder, linear, *, data="digits", untrained=None, **more):
    """Of a run, an untrained encoder (its seed) or the pixels; with its features."""
    recipe = {"data": {data: {}}, "image_shape": SHAPE}
    if untrained is not None:
        recipe["untrained"] = {"encoder": ENCODER, "seed": untrained}
    parents = {"encoder": encoder} if encoder else {}
    features = finished(workdir, "features", "f", recipe, parents)
    rows = [
        {
            "dataset": data,
            "evaluator": name,
            "accuracy": accuracy,
            "interval": [accuracy - 0.02, accuracy + 0.03],
            "n_test": N_TEST,
        }
        for name, accuracy in ({"linear": linear, "knn": linear - 0.1} | more).items()
    ]
    recipe = {"data": {data: {}}, "confidence": 0.95}
    parents = {"features": features}
    return finished(workdir, "probe", "p", recipe, parents, results=rows)


def fidelity(workdir, judge, encoder, **found):
    """Of the encoder of a probe against the victim of another."""
    parents = {"victim": judge, "encoder": encoder, "untrained": encoder}
    found = {"dataset": "digits", "cosine": None} | found
    return finished(workdir, "fidelity", "f", {}, parents, fidelity=found)


def report(workdir, runs, **meta):
    """The report run of a study on runs."""
    parents = {f"{run.stage}{i}": run for i, run in enumerate(runs)}
    return finished(workdir, "report", "study", {"study": "fake"}, parents, **meta)


def key(run):
    return f"{run.stage}/{run.name}"
