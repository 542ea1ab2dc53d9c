"""Finished runs made by hand: what a report reads, and nothing more."""

import numpy as np

from sslx.report.collect import collect
from sslx.report.records import Member
from sslx.runs.files import write_json, write_meta
from sslx.runs.lineage import lineage
from sslx.runs.names import Run, make_run

ENCODER = {"name": "conv3", "kw": {"width": 8, "dtype": "float32"}}
SHAPE = [8, 8, 1]
LENGTH = {"batch_size": 4, "steps": 10}
N_TEST = 1000
FLOPS = 1e9  # of every training


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
    slug = f"simclr-conv3-digits-s{seed}"
    return finished(workdir, "victim", slug, recipe, {}, flops=2 * FLOPS)


POOL = {"pool": {"digits": {}}, "held_out": 0.5}


def steal(workdir, of, seed, *, loss="mse", queries=100, attack="direct", **more):
    """A stealer with the answers it paid for; of no victim (ssl_only) with of=None."""
    end, meta = more.pop("finished", True), {"flops": FLOPS}
    meta |= {key: more.pop(key) for key in ("words", "images", "passes") if key in more}
    if "judged" in more:  # on what was held back: measure, value, images
        keys = ("measure", "value", "images")
        meta["held_back"] = dict(zip(keys, more.pop("judged"), strict=True))
        more.setdefault("held_back", {"share": 0.1})
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
            **POOL,
        }
        if "asked" in more:  # the images of a theft of as many
            more["asked"] = {"images": meta["images"], "rounds": 1}
    else:
        asked = {"seed": seed, "queries": queries, "price": 0.002, "views": 1}
        counters = {"unique_images": queries, "images": queries, "calls": 1}
        counters |= {"values": 16 * queries, "limit": queries, "cost": queries * 0.002}
        bill = {"queries": counters, "accounts": {"attacker": counters}}
        asked |= {"dim": 16, "plan": more.pop("plan", "random"), "rounds": 1, **POOL}
        asked |= more.pop("pool", {})
        answers = finished(workdir, "responses", "r", asked, {"victim": of}, **bill)
        recipe |= {"attack_numbers": {"train_on": "asked"}, "loss": loss, "numbers": {}}
        parents = {"responses": answers, **more.pop("before", {})}
    recipe |= LENGTH | more
    return finished(workdir, "steal", f"s{seed}", recipe, parents, finished=end, **meta)


def probe(
    workdir, encoder, linear, *, data="digits", untrained=None, notes=None, **more
):
    """Of a run, an untrained encoder (its seed) or the pixels; with its features.

    more: accuracies of further evaluators, and of an untrained encoder ``initial``.
    """
    recipe = {"data": {data: {}}, "image_shape": SHAPE}
    if untrained is not None:
        recipe["untrained"] = {"encoder": ENCODER, "seed": untrained}
        if more.pop("initial", False):
            recipe["untrained"]["statistics"] = "initial"
    parents = {"encoder": encoder} if encoder else {}
    features = finished(workdir, "features", "f", recipe, parents)
    rows = [
        {
            "dataset": data,
            "evaluator": name,
            "accuracy": accuracy,
            "interval": [accuracy - 0.02, accuracy + 0.03],
            "n_test": N_TEST,
            **(notes or {}).get(name, {}),
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


def report(workdir, runs, pairs):
    """The report run of a study on runs, made already; all members by default."""
    run = finished(workdir, "report", "study", *asked(runs, pairs))
    return run


def asked(runs, pairs, **more):
    """Recipe and parents of a report run; ``pairs`` may bear changes as a third."""
    members = [
        {"victim": pair[0], "theft": pair[1], "changes": [*pair, {}][2]}
        for pair in pairs
    ]
    recipe = {"format": 6, "name": "fake", "confidence": 0.95, "primary": "linear"}
    recipe |= {"members": members, "names": {}, "skipped": [], "unanswered": {}}
    parents: dict = {}
    for run in runs:
        _gather(run, parents)
    return recipe | more, {f"{r.stage}{i}": r for i, r in enumerate(parents.values())}


def _gather(run, into):
    for parent in run.parents.values():
        _gather(parent, into)
    into[run.path] = run


def members(pairs):
    """The members of (victim, theft) pairs."""
    return [Member(victim, theft, {}) for victim, theft in pairs]


def key(run):
    return f"{run.stage}/{run.name}"


def study(workdir, victims=(0, 1, 2), losses=("mse", "infonce"), gap=0.1):
    """Victims 0.80, 0.82, ...; mse 0.2 below its victim, infonce ``gap`` below mse."""
    pairs = []
    for i, seed in enumerate(victims):
        v = victim(workdir, seed)
        probe(workdir, v, 0.80 + 0.02 * i)
        for j, loss in enumerate(losses):
            t = steal(workdir, v, seed, loss=loss)
            probe(workdir, t, 0.60 + 0.02 * i - gap * j + 0.01 * i * j)
            pairs.append((key(v), key(t)))
    return pairs


def grid(workdir):
    """2 victims, 2 losses at 2 budgets, ssl_only; fidelity; the report's run."""
    runs, pairs = [], []
    for seed in (0, 1):
        v = victim(workdir, seed)
        more = {"linear_0.01": 0.5, "reference_probe": 0.7}
        judge = probe(workdir, v, 0.8 + seed / 50, **more)
        u = probe(workdir, None, 0.4, untrained=seed, **more)
        runs += [v, judge, u, fidelity(workdir, judge, u, cka=0.2)]
        own = steal(workdir, None, seed, attack="ssl_only")
        thefts = [(own, 0.5)]
        for queries in (100, 400):
            for loss, accuracy in (("mse", 0.6), ("infonce", 0.65)):
                t = steal(workdir, v, seed, loss=loss, queries=queries)
                thefts.append((t, accuracy + queries / 4000 + seed / 20))
        for t, accuracy in thefts:
            p = probe(workdir, t, accuracy, **more)
            f = fidelity(workdir, judge, p, cka=accuracy, agreement=0.6)
            runs += [t, p, f]
            pairs.append([key(v), key(t)])
    runs.append(probe(workdir, None, 0.3, **more))
    return report(workdir, runs, pairs), pairs


def gathered(workdir, pairs):
    """The records of all runs of a workdir."""
    return collect(lineage(workdir), members(pairs))


def row_of(rows, **wanted):
    """The one of some records or rows that has such entries."""
    (row,) = (r for r in rows if all(getattr(r, k) == v for k, v in wanted.items()))
    return row


def gallery(workdir, victim, theft):
    """The gallery of two runs, given by key: 12 images, 2 queries, 2 neighbours."""
    random = np.random.default_rng(0)
    parents = {
        role: Run(workdir, *k.split("/"), {}, {})
        for role, k in (("victim", victim), ("stolen", theft))
    }
    meta = {"dataset": "digits", "classes": 2, "copies": False, "shared": 0.5}
    meta |= {"agree": {"victim": 0.75, "stolen": 0.25}}
    run = finished(workdir, "gallery", "g", {}, parents, gallery=meta)
    arrays = {
        "images": random.integers(0, 256, (12, 6, 6, 1), np.uint8),
        "labels": np.repeat([3, 5], 6),
        "queries": np.array([0, 6]),
    }
    for encoder in parents:
        arrays[f"near_{encoder}"] = random.integers(0, 12, (12, 2))
        arrays[f"map_{encoder}"] = random.normal(size=(12, 2))
    np.savez(run.path / "gallery.npz", **arrays)
    return run
