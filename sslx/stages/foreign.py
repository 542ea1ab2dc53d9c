"""Victims that were not trained here: PyTorch weights, and the APIs of ``api.py``.

Their recipes name content, never a place: the weights, the recorded answers, or the
answers of a function to a few fixed images.
"""

from functools import partial
from pathlib import Path

import jax
from ml_collections import ConfigDict

from sslx import data, hosts
from sslx.embed import function, recording
from sslx.embed.answers import ITEM
from sslx.experiment.recipes import encoder_of, normalisation, reading, share
from sslx.models import from_torch, read_weights
from sslx.models.torch_names import NAMED
from sslx.progress import say
from sslx.registry import pick
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run, make_run
from sslx.train import checkpoint
from sslx.types import Params, UserError


def is_foreign(config: ConfigDict) -> bool:
    """Whether the victim of a config comes from elsewhere."""
    return bool(config.victim.weights or config.victim.source)


def foreign_run(config: ConfigDict, workdir: Path) -> Run:
    """The run of a victim from elsewhere.

    Raises:
        UserError: Bad weights, a bad file of answers, a function that does not answer.
    """
    v = config.victim
    if v.weights and v.source:
        raise UserError(
            "victim.weights and victim.source are two victims; leave one of them empty"
        )
    if v.weights:
        return _of_weights(config, workdir)
    kind, _, rest = v.source.partition(":")
    if kind == "npz":
        found = recording.record(rest)
        dim = found.embeddings.shape[1]
        recipe = {
            "origin": "npz",
            "answers": checkpoint.digest(_item(found)),
            "images": len(found.images),
            "image_shape": found.images.shape[1:],
        }
        return make_run(workdir, "victim", f"npz-{dim}d", recipe | {"dim": dim}, {})
    if kind == "python":
        shape = _image_shape(config)
        answers, dim = function.identify(rest, shape)
        recipe = {"origin": "python", "function": rest, "answers": answers}
        recipe |= {"image_shape": shape, "dim": dim}
        slug = f"python-{rest.replace(':', '.')}"
        return make_run(workdir, "victim", slug, recipe, {})
    raise UserError(
        f"unknown victim.source {v.source!r}; write npz:FILE or python:MODULE:FUNCTION"
    )


def _image_shape(config: ConfigDict) -> tuple[int, ...]:
    """Of ``victim.dataset``, which the attacker's images are drawn from as well."""
    if config.data.held_out:
        share("data.held_out", config.data.held_out)
    return tuple(data.describe(config.victim.dataset, reading(config)).image_shape)


def _of_weights(config: ConfigDict, workdir: Path) -> Run:
    v = config.victim
    pick(NAMED, v.encoder, "encoder with PyTorch names")
    shape, encoder = _image_shape(config), encoder_of(v, config.precision)
    trunk = _trunk(v.weights, encoder.meta)
    takes = trunk["params"]["stem_conv"]["kernel"].shape[2]
    if takes != shape[2]:
        raise UserError(
            f"{v.weights} takes images of {takes} channels, those of {v.dataset!r} "
            f"have {shape[2]}; set data.channels={takes}"
        )
    recipe = {
        "origin": "weights",
        "weights": checkpoint.digest(trunk),
        "encoder": encoder.meta,
        "image_shape": shape,
        **normalisation(config, shape[2]),
    }
    return make_run(workdir, "victim", f"weights-{v.encoder}", recipe, {})


def _trunk(file: str, encoder: dict, told=None) -> dict[str, Params]:
    """The item ``encoder`` of a checkpoint, from a file of weights."""
    kw, state = encoder["kw"], read_weights(file)
    try:
        params, stats = from_torch(
            encoder["name"], state, stem=kw["stem"], width=kw["width"], told=told
        )
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return {"params": jax.device_get(params), "stats": jax.device_get(stats)}


def _item(found: recording.Recording) -> dict[str, Params]:
    return {"keys": found.keys, "embeddings": found.embeddings}


def make(run: Run, config: ConfigDict) -> None:
    """Makes the victim's run: a sealed checkpoint, and meta.json to open it by."""
    r, v = run.recipe, config.victim
    what = {
        "weights": f"weights of {v.weights}",
        "npz": f"answers of {v.source}",
        "python": f"asks {v.source}",
    }[r["origin"]]
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        items = {}
        if r["origin"] == "weights":
            items = {"encoder": _trunk(v.weights, r["encoder"], told=say)}
        elif r["origin"] == "npz":
            items = {ITEM: _item(recording.record(recording.recorded_in(v.source)))}
        known = {"encoder": "weights", ITEM: "answers"}
        for name, tree in items.items():
            if checkpoint.digest(tree) != r[known[name]]:
                raise UserError(f"{what} have changed meanwhile; start again")
        meta = {key: value for key, value in r.items() if key != "weights"}
        if items:
            # Whoever was killed after the save has made it already.
            if not hosts.share(partial(checkpoint.steps, run.path)):
                with checkpoint.open_store(run.path, 1) as save:
                    save(0, items)
            meta["weights"] = checkpoint.seal(run.path)
        write_meta(run, finished=True, **({"head": None} | meta))


def unanswered(config: ConfigDict, names: list[str]) -> dict[str, int]:
    """The probes' sets that the victim cannot answer, and how many images it lacks."""
    file = recording.recorded_in(config.victim.source)
    if not file:
        return {}
    counts = {name: recording.unanswered(file, name, reading(config)) for name in names}
    return {name: n for name, n in counts.items() if n}
