"""What determines each run: the recipes that a config asks for, checked.

A recipe holds only what changes the result: the chosen block of numbers and none of the
others, data by content and not by place, nothing of how the run is carried out.
"""

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.attacks import ATTACKS
from sslx.data.presets import PRESETS
from sslx.engine.optim import OPTIMISERS
from sslx.engine.rundir import Run, make_run
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.registry import pick
from sslx.service import DEFENCES
from sslx.stages.splits import divide
from sslx.stages.train import make_objective
from sslx.types import UserError


def reading(config: ConfigDict) -> data.Options:
    """How data sets are read."""
    d = config.data
    return data.Options(d.dir, d.download, d.size, d.channels)


def numbers(table: dict[str, Any], name: str, blocks: ConfigDict, what: str) -> dict:
    """The block of numbers that belongs to the chosen entry of a table.

    Raises:
        UserError: Unknown name, or the block does not hold exactly what it takes.
    """
    entry = pick(table, name, what)
    block = blocks[name].to_dict() if name in blocks else {}
    takes = {
        key
        for key, p in inspect.signature(entry).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }
    if set(block) != takes:
        wanted, found = (", ".join(sorted(k)) or "nothing" for k in (takes, block))
        raise UserError(f"the block of {what} {name!r} must hold {wanted}, not {found}")
    _sizes(f"{what} {name}", block)
    return block


def _sizes(section: str, block: dict[str, Any]) -> None:
    """Widths and temperatures; only a hidden width may be 0 (as wide as its input)."""
    sizes = {k: v for k, v in block.items() if not isinstance(v, bool | str)}
    positive(section, {k: v for k, v in sizes.items() if k != "hidden" or v < 0})


def positive(section: str, values: dict[str, Any]) -> None:
    """Raises a UserError unless all values are above 0 and finite."""
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{section}.{key} must be above 0, not {value}")


def share(name: str, value: float) -> None:
    """Raises a UserError unless 0 < value < 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} must lie between 0 and 1, not {value}")


def _normalisation(config: ConfigDict, channels: int) -> dict[str, list[float]]:
    out = {}
    for key in ("mean", "std"):
        values = config.data[key]
        if len(values) not in (1, channels):
            raise UserError(
                f"data.{key} must hold 1 or {channels} numbers, not {len(values)}"
            )
        out[key] = list(values)
    positive("data", {f"std[{i}]": v for i, v in enumerate(out["std"])})
    return out


def _training(section: ConfigDict, name: str, precision: str, n: int) -> dict:
    """What victim and stealer have in common: network, views, optimiser, length."""
    positive(name, {"number of images to train on": n})
    positive(name, {"batch_size": section.batch_size})
    blocks = section.encoder_kw
    kw = blocks[section.encoder].to_dict() if section.encoder in blocks else {}
    _sizes(f"encoder {section.encoder}", kw)
    batch_size = min(section.batch_size, n)
    steps = section.steps or section.epochs * (n // batch_size)
    positive(name, {"epochs (or steps)": steps})
    preset = pick(PRESETS, section.augment, "augmentation preset")
    return {
        "encoder": make_encoder(section.encoder, dtype=precision, **kw).meta,
        "augment": [recipe._asdict() for recipe in preset],
        "optim": _optim(name, section.optim, batch_size),
        "batch_size": batch_size,
        "steps": steps,
    }


def _optim(name: str, section: ConfigDict, batch_size: int) -> dict:
    """The optimiser's part of a recipe, its rate that of the batch."""
    optim = section.to_dict()
    taken = pick(OPTIMISERS, optim["name"], "optimiser").takes
    for key in ("momentum", "trust_coefficient", "decay_vectors"):
        if key not in taken:
            del optim[key]  # not its own: must not name a run
    above = ("learning_rate", "trust_coefficient")
    positive(f"{name}.optim", {k: v for k, v in optim.items() if k in above})
    for key in ("weight_decay", "momentum", "warmup_steps"):
        if not 0 <= optim.get(key, 0) < math.inf:
            raise UserError(f"{name}.optim.{key} must be 0 or more, not {optim[key]}")
    if optim.pop("learning_rate_per_256"):
        optim["learning_rate"] *= batch_size / 256
    return optim


def victim_run(config: ConfigDict, workdir: Path) -> Run:
    """The victim's run."""
    v, options = config.victim, reading(config)
    info = data.describe(v.dataset, options)
    if config.data.held_out:  # 0: the attacker brings images of other origin
        share("data.held_out", config.data.held_out)
    rows, _ = divide(
        data.ids(v.dataset, "train", options),
        config.data.held_out,
        config.data.split_seed,
    )
    training = _training(v, "victim", config.precision, len(rows))
    if training["batch_size"] < 2:
        raise UserError("victim.batch_size must be at least 2")
    if v.watch_every < 0:
        raise UserError(f"victim.watch_every must be 0 or more, not {v.watch_every}")
    recipe = {
        "seed": config.seed,
        "data": info.identity,
        "held_out": config.data.held_out,
        "split_seed": config.data.split_seed,
        "image_shape": info.image_shape,
        **_normalisation(config, info.image_shape[2]),
        "objective": v.objective,
        "numbers": numbers(OBJECTIVES, v.objective, v.objective_kw, "objective"),
        "classes": info.classes,
        **training,
    }
    wanted, given = make_objective(recipe).views, len(training["augment"])
    if given != wanted:
        raise UserError(
            f"objective {v.objective!r} takes {wanted} view(s) of an image, but "
            f"augmentation preset {v.augment!r} makes {given}; choose another preset "
            "in victim.augment"
        )
    slug = f"{v.objective}-{v.encoder}-{info.slug}-s{config.seed}"
    return make_run(workdir, "victim", slug, recipe, {})


def pool_of(
    config: ConfigDict, pool: str, test_kept: float | None
) -> tuple[str, str, np.ndarray]:
    """The attacker's images: (data set, split, rows of the split)."""
    options, victims = reading(config), config.victim.dataset
    if pool == "held_out":
        ids = data.ids(victims, "train", options)
        _, rows = divide(ids, config.data.held_out, config.data.split_seed)
        return victims, "train", rows
    if pool == "test" and test_kept is not None:
        share("steal.test_kept", test_kept)
        ids = data.ids(victims, "test", options)
        rows, _ = divide(ids, test_kept, config.data.split_seed)
        return victims, "test", rows
    info = data.describe(pool, options)
    if info.identity == data.describe(victims, options).identity:
        raise UserError(
            f"steal.pool {pool!r} is what the victim was trained on; write held_out or "
            "test for the images it did not see"
        )
    return pool, "train", np.arange(info.sizes["train"])


def responses_run(config: ConfigDict, steal: ConfigDict, victim: Run) -> Run:
    """The run that asks the victim what the steal section plans."""
    service = config.service
    dataset, split, rows = pool_of(config, steal.pool, steal.test_kept)
    info = data.describe(dataset, reading(config))
    if list(info.image_shape) != victim.recipe["image_shape"]:
        raise UserError(
            f"steal.pool {steal.pool!r} has images of shape {info.image_shape}, the "
            f"victim takes {tuple(victim.recipe['image_shape'])}; data.size and "
            "data.channels bring sets together"
        )
    positive("steal", {"queries": steal.queries})
    positive("service", {"call_size": service.call_size})
    if steal.queries > len(rows):
        raise UserError(
            f"steal.queries is {steal.queries}, but the pool {steal.pool!r} has only "
            f"{len(rows)} images"
        )
    limit = service.image_limit
    limit = steal.queries if limit is None else limit
    if limit < steal.queries:
        raise UserError(
            f"service.image_limit is {limit}, but steal.queries is {steal.queries}"
        )
    if service.output not in ("representation", "projection"):
        raise UserError(
            f"unknown service.output {service.output!r}; known: projection, "
            "representation"
        )
    pick(ATTACKS, steal.attack, "attack")
    pick(DEFENCES, service.defence, "defence")
    recipe = {
        "seed": config.seed,
        "attack": steal.attack,
        "pool": info.identity,
        "split": split,
        "held_out": config.data.held_out if steal.pool == "held_out" else None,
        "test_kept": steal.test_kept if steal.pool == "test" else None,
        "split_seed": config.data.split_seed,
        "queries": steal.queries,
        "output": service.output,
        "image_limit": limit,
        "call_size": service.call_size,
        "defence": service.defence,
    }
    slug = f"{steal.attack}-{info.slug}-{steal.queries}q-s{config.seed}"
    return make_run(victim.workdir, "responses", slug, recipe, {"victim": victim})


def steal_run(config: ConfigDict, steal: ConfigDict, responses: Run) -> Run:
    """The stealer's run on the answers of a responses run."""
    victim = responses.parents["victim"]
    training = _training(steal, "steal", config.precision, steal.queries)
    training["augment"] = training["augment"][:1]  # a stealer sees one view
    recipe = {
        "seed": config.seed,
        "loss": steal.loss,
        "numbers": numbers(LOSSES, steal.loss, steal.loss_kw, "loss"),
        "mean": victim.recipe["mean"],
        "std": victim.recipe["std"],
        "image_shape": victim.recipe["image_shape"],
        **training,
    }
    slug = (
        f"{steal.attack}-{steal.loss}-{steal.encoder}-{steal.queries}q-s{config.seed}"
    )
    return make_run(victim.workdir, "steal", slug, recipe, {"responses": responses})
