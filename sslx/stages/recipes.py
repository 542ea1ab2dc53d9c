"""What determines each run: the recipes that a config asks for, checked.

A recipe holds only what changes the result: the chosen block of numbers and none of the
others, data by content and not by place, nothing of how the run is carried out.
"""

import inspect
import math
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sslx import data
from sslx.data.presets import PRESETS
from sslx.engine.optim import OPTIMISERS
from sslx.engine.rundir import Run, make_run
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.registry import pick
from sslx.stages.splits import divide
from sslx.stages.train import make_objective
from sslx.types import Encoder, UserError

# A hidden width of 0 is as wide as its input; a term of a loss may be left out.
MAY_BE_0 = ("hidden", "invariance", "variance", "covariance", "off_diagonal", "decay")


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
    """Widths, temperatures, weights and decays, each within its range."""
    sizes = {k: v for k, v in block.items() if not isinstance(v, bool | str)}
    positive(section, {k: v for k, v in sizes.items() if k not in MAY_BE_0 or v < 0})
    for key in ("decay", "final_decay"):
        if sizes.get(key, 0) > 1:
            raise UserError(f"{section}.{key} must be 1 at most, not {sizes[key]}")


def positive(section: str, values: dict[str, Any]) -> None:
    """Raises a UserError unless all values are above 0 and finite."""
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{section}.{key} must be above 0, not {value}")


def share(name: str, value: float) -> None:
    """Raises a UserError unless 0 < value < 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} must lie between 0 and 1, not {value}")


def normalisation(config: ConfigDict, channels: int) -> dict[str, list[float]]:
    """Mean and standard deviation of images, for encoders that run here."""
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


def encoder_of(section: ConfigDict, precision: str) -> Encoder:
    """The encoder that the victim's or the stealer's section names."""
    blocks = section.encoder_kw
    kw = blocks[section.encoder].to_dict() if section.encoder in blocks else {}
    _sizes(f"encoder {section.encoder}", kw)
    return make_encoder(section.encoder, dtype=precision, **kw)


def _training(section: ConfigDict, name: str, precision: str, n: int) -> dict:
    """What victim and stealer have in common: network, views, optimiser, length."""
    positive(name, {"number of images to train on": n})
    positive(name, {"batch_size": section.batch_size})
    encoder = encoder_of(section, precision)
    batch_size = min(section.batch_size, n)
    steps = section.steps or section.epochs * (n // batch_size)
    positive(name, {"epochs (or steps)": steps})
    preset = pick(PRESETS, section.augment, "augmentation preset")
    return {
        "encoder": encoder.meta,
        "augment": [recipe._asdict() for recipe in preset],
        "optim": _optim(name, section.optim, batch_size, steps),
        "batch_size": batch_size,
        "steps": steps,
    }


def _optim(name: str, section: ConfigDict, batch_size: int, steps: int) -> dict:
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
    if optim["warmup_steps"] >= steps:
        raise UserError(
            f"{name}.optim.warmup_steps is {optim['warmup_steps']}, but there are only "
            f"{steps} steps"
        )
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
        **normalisation(config, info.image_shape[2]),
        "objective": v.objective,
        "numbers": numbers(OBJECTIVES, v.objective, v.objective_kw, "objective"),
        "classes": info.classes,
        **training,
    }
    objective = make_objective(recipe)
    if objective.head is None and config.service.output == "projection":
        raise UserError(
            f"service.output='projection', but objective {v.objective!r} has no "
            "projection head; write representation"
        )
    wanted, given = objective.views, len(training["augment"])
    if given != wanted:
        raise UserError(
            f"objective {v.objective!r} takes {wanted} view(s) of an image, but "
            f"augmentation preset {v.augment!r} makes {given}; choose another preset "
            "in victim.augment"
        )
    slug = f"{v.objective}-{v.encoder}-{info.slug}-s{config.seed}"
    return make_run(workdir, "victim", slug, recipe, {})


def steal_run(config: ConfigDict, steal: ConfigDict, responses: Run) -> Run:
    """The stealer's run on the answers of a responses run."""
    victim = responses.parents["victim"]
    training = _training(steal, "steal", config.precision, steal.queries)
    training["augment"] = training["augment"][:1]  # a stealer sees one view
    recipe = {
        "seed": config.seed,
        "loss": steal.loss,
        "numbers": numbers(LOSSES, steal.loss, steal.loss_kw, "loss"),
        **normalisation(config, victim.recipe["image_shape"][2]),
        "image_shape": victim.recipe["image_shape"],
        **training,
    }
    slug = (
        f"{steal.attack}-{steal.loss}-{steal.encoder}-{steal.queries}q-s{config.seed}"
    )
    return make_run(victim.workdir, "steal", slug, recipe, {"responses": responses})
