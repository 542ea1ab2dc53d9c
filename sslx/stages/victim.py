"""Stage victim: trains an encoder, or takes one over from elsewhere."""

from functools import partial
from typing import Any

from sslx import hosts
from sslx.build import make_objective
from sslx.context import Context
from sslx.data.splits import divide
from sslx.embed import recording
from sslx.embed.function import CHECK, ITEM
from sslx.models.weight_files import read_trunk
from sslx.progress import say
from sslx.runs.files import is_finished, read_json, write_meta
from sslx.runs.locks import hold, working_on
from sslx.runs.names import Run
from sslx.stages.training import train
from sslx.stages.watch import make_watch
from sslx.train import checkpoint
from sslx.types import Params, refuse_if


def make(run: Run, context: Context) -> None:
    """Makes a victim: trains it on the training images that are not held out."""
    r = run.recipe
    if "origin" in r:
        _take_over(run, context)
        return
    what = f"{r['objective']}, {r['steps']} steps of {r['batch_size']} images"
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        place = context.place(r["data"])
        ids, split = place.ids("train"), place.load("train")
        rows, _ = divide(ids, r["held_out"], r["split_seed"])
        objective = make_objective(r)
        arrays = {entry: getattr(split, entry) for entry in objective.uses}
        if len(rows) < len(split.labels):  # else a copy of all for nothing
            arrays = {entry: array[rows] for entry, array in arrays.items()}
        watch = make_watch(context.watching, run, split, ids)
        train(run, objective, arrays, context, watch)


def _contents(run: Run, file: str) -> dict[str, Params]:
    """The items of its checkpoint, by the file that it is made of."""
    r = run.recipe
    if r["origin"] == "weights":
        return {"encoder": read_trunk(file, r["encoder"], told=say)}
    if r["origin"] == "npz":
        return {ITEM: recording.item_of(recording.record(file))}
    return {}


def _checked(run: Run) -> dict[str, Any]:
    """The count of what checks have asked a function, with that of this start."""
    path = run.path / "meta.json"
    old = read_json(path).get("self_check", {}) if path.exists() else {}
    more = {"images": CHECK * hosts.count(), "starts": 1}
    return {"self_check": {key: n + old.get(key, 0) for key, n in more.items()}}


def count_check(run: Run) -> None:
    """Notes at a finished victim, a function, that this start has asked it again."""
    asked = run.recipe.get("origin") == "python" and run.recipe["answers"]
    if asked and hosts.first() and is_finished(run):
        try:
            with hold(run):
                write_meta(run, finished=True, **_checked(run))
        except OSError as error:  # a workdir that is only read
            say(f"[victim] {run.path}: the check is not counted ({error.strerror})")


def _take_over(run: Run, context: Context) -> None:
    """Makes the run of a victim from elsewhere: a sealed checkpoint, and meta.json."""
    r = run.recipe
    file = context.files.get(r.get("weights") or r["answers"], "")
    what = f"function {r['function']}" if r["origin"] == "python" else file
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        items = _contents(run, file)
        for name, tree in items.items():
            known = {"encoder": "weights", ITEM: "answers"}[name]
            refuse_if(
                checkpoint.digest(tree) != r[known],
                f"{file} has changed meanwhile; start again",
            )
        meta: dict[str, Any] = {k: value for k, value in r.items() if k != "weights"}
        if r["origin"] == "python" and r["answers"]:
            meta |= _checked(run)
        if items:
            # Whoever was killed after the save has made it already.
            if not hosts.share(partial(checkpoint.steps, run.path)):
                with checkpoint.open_store(run.path, 1) as save:
                    save(0, items)
            meta["weights"] = checkpoint.seal(run.path)
        write_meta(run, finished=True, **({"head": None} | meta))
