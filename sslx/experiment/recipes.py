"""What determines each run: the recipes that a config asks for, checked.

A recipe holds only what changes the result: the chosen block of numbers and none of the
others, data by content and not by place, nothing of how the run is carried out.
"""

import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from sslx import data
from sslx.build import make_objective
from sslx.data.presets import PRESETS
from sslx.models import ENCODERS, make_encoder
from sslx.objectives import OBJECTIVES
from sslx.registry import check_block, check_sizes, keywords, pick, positive
from sslx.train.optim import OPTIMISERS
from sslx.types import Encoder, UserError, refuse_if

IMAGES = ("asked", "pool")  # what a stealer may train on without answers


def reading(config: ConfigDict) -> data.Options:
    """How data sets are read."""
    d = config.data
    return data.Options(d.dir, d.download, d.size, d.channels)


def numbers(table: dict[str, Any], name: str, blocks: ConfigDict, what: str) -> dict:
    """The block of numbers that belongs to the chosen entry of a table.

    Raises:
        UserError: Unknown name, or the block does not hold exactly what it takes.
    """
    return block_of(name, blocks, pick(table, name, what), what)


def block_of(name: str, blocks: ConfigDict, entry: Callable, what: str) -> dict:
    """The block of numbers of a name, which must hold exactly what the entry takes.

    That of an entry of one's own, MODULE:NAME, is called NAME.
    """
    name = name.rpartition(":")[2]
    block = blocks[name].to_dict() if name in blocks else {}
    check_block(block, entry, f"the block of {what} {name!r}")
    check_sizes(f"{what} {name}", block, entry)
    return block


def share(name: str, value: float) -> None:
    """Raises a UserError unless 0 < value < 1."""
    percent = f"; {value:g} % are {value / 100:g}" if 1 <= value < 100 else ""
    refuse_if(
        not 0 < value < 1,
        f"{name} must lie between 0 and 1, not {value}{percent}",
    )


def whole_seed(name: str, value: Any) -> None:
    """Raises a UserError unless a seed is a whole number of 32 bits."""
    refuse_if(
        type(value) is not int,
        f"{name} must be a whole number, not {value!r}",
    )
    refuse_if(
        not 0 <= value < 2**32,
        f"{name} must be 0 or more and below 2**32, not {value}",
    )


def check_solver(name: str, section: ConfigDict) -> None:
    """Raises a UserError where the numbers of a linear probe are wrong."""
    share(f"{name}.validation", section.validation)
    positive(name, {key: section[key] for key in ("tolerance", "max_iterations")})
    positive(name, {"number of l2_grid entries": len(section.l2_grid)})
    positive(name, {f"l2_grid[{i}]": l2 for i, l2 in enumerate(section.l2_grid)})


def normalisation(config: ConfigDict, channels: int) -> dict[str, list[float]]:
    """Mean and standard deviation of images, for encoders that run here."""
    out = {}
    for key in ("mean", "std"):
        values = config.data[key]
        refuse_if(
            len(values) not in (1, channels),
            f"data.{key} must hold 1 number, or one for each of {channels} channels, "
            f"not {len(values)}",
        )
        out[key] = list(values)
    positive("data", {f"std[{i}]": v for i, v in enumerate(out["std"])})
    _check_units(out["mean"], out["std"])
    return out


def _check_units(mean: list[float], std: list[float]) -> None:
    """Raises a UserError unless they can be of images in [0, 1].

    A deviation of 1 is none, that is fine with any mean; 1/255 is that of images in
    grey values. Numbers in [0, 1] of mean m have a variance of m (1 - m) at most.
    """
    given = f"data.mean={tuple(mean)}, data.std={tuple(std)}"
    low, high = min(mean), max(*mean, *std)
    right = [tuple(float(f"{v / 255:.4g}") for v in values) for values in (mean, std)]
    refuse_if(
        low >= 0 and 10 < high <= 255,
        f"{given} are of grey values, 0 to 255, but images are in [0, 1]; write "
        f"data.mean={right[0]} and data.std={right[1]}",
    )
    refuse_if(
        low < 0 or high > 1,
        f"{given} cannot be of images in [0, 1]: write the mean, from 0 to 1, that is "
        "subtracted, and the deviation, at most 1, that they are divided by then",
    )
    refuse_if(
        min(std) < 0.99 / 255,
        f"{given}: a deviation below 1/255 is less than a grey value; images are in "
        "[0, 1], so what holds for them is not to be divided by 255 again",
    )
    n = max(len(mean), len(std))
    pairs = list(zip(mean * (n // len(mean)), std * (n // len(std)), strict=True))
    refuse_if(
        any(m > 0 and s < 1 and s * s > m * (1 - m) + 1e-3 for m, s in pairs)
        and all(m * m <= s * (1 - s) for m, s in pairs),
        f"{given}: images in [0, 1] of that mean cannot deviate so much; the two look "
        f"exchanged: write data.mean={tuple(std)} and data.std={tuple(mean)}",
    )


def encoder_of(section: ConfigDict, precision: str) -> Encoder:
    """The encoder that the victim's or the stealer's section names."""
    blocks = section.encoder_kw
    kw = blocks[section.encoder].to_dict() if section.encoder in blocks else {}
    entry = pick(ENCODERS, section.encoder, "encoder")
    check_sizes(f"encoder {section.encoder}", kw, entry)
    return make_encoder(section.encoder, dtype=precision, **kw)


def views_of(preset: str) -> list[dict[str, Any]]:
    """A preset's recipes, one for each view, as a recipe of a run has them."""
    found = pick(PRESETS, preset, "augmentation preset")
    return [recipe._asdict() for recipe in found]


def training(section: ConfigDict, name: str, n: int, views: int) -> dict:
    """What all trainings have in common: optimiser, batch and length.

    Args:
        section: Of the config.
        name: Its name, for messages.
        n: Images to train on.
        views: Of an image that go through the network in a step.
    """
    positive(name, {"number of images to train on": n})
    positive(name, {"batch_size": section.batch_size})
    batch_size = min(section.batch_size, n)
    refuse_if(
        batch_size < 2,
        f"{name}: a batch must be 2 images at least, not {batch_size}",
    )
    refuse_if(
        section.passes and section.steps,
        f"{name}.passes and {name}.steps both say how long to train; leave one at 0",
    )
    steps = section.steps or section.epochs * (n // batch_size)
    if section.passes:
        # A budget of work is kept however few images there are, to half a step.
        step = batch_size * views
        refuse_if(
            2 * section.passes < step,
            f"{name}.passes must be half a step at least, {-(-step // 2)} of "
            f"{batch_size} images in {views} view(s), not {section.passes}",
        )
        steps = max(1, round(section.passes / step))
    positive(name, {"epochs (or steps, or passes)": steps})
    return {
        "optim": _optim(name, section.optim, batch_size, steps),
        "batch_size": batch_size,
        "steps": steps,
    }


def _optim(name: str, section: ConfigDict, batch_size: int, steps: int) -> dict:
    """The optimiser's part of a recipe, its rate that of the batch."""
    optim = section.to_dict()
    taken = keywords(pick(OPTIMISERS, optim["name"], "optimiser"))
    for key in ("momentum", "trust_coefficient", "decay_vectors"):
        if key not in taken:
            del optim[key]  # not its own: must not name a run
    above = ("learning_rate", "trust_coefficient")
    positive(f"{name}.optim", {k: v for k, v in optim.items() if k in above})
    for key in ("weight_decay", "momentum", "warmup_steps"):
        if not 0 <= optim.get(key, 0) < math.inf:
            raise UserError(f"{name}.optim.{key} must be 0 or more, not {optim[key]}")
    refuse_if(
        optim.get("momentum", 0) >= 1,
        f"{name}.optim.momentum must be below 1, not {optim.get('momentum')}",
    )
    refuse_if(
        optim["warmup_steps"] >= steps,
        f"{name}.optim.warmup_steps is {optim['warmup_steps']}, but there are only "
        f"{steps} steps",
    )
    if optim.pop("learning_rate_per_256"):
        optim["learning_rate"] *= batch_size / 256
    return optim


def unlabelled(
    section: ConfigDict, name: str, encoder: Encoder, classes: int, n: int
) -> dict[str, Any]:
    """The recipe's part of a training method: numbers, network, views, length.

    Args:
        section: Of the victim, or of what a stealer trains without answers.
        name: Its name, for messages.
        encoder: The network.
        classes: Of the labels; 0 where there are none.
        n: Images to train on.
    """
    recipe = {
        "objective": section.objective,
        "numbers": numbers(
            OBJECTIVES, section.objective, section.objective_kw, "objective"
        ),
        "classes": classes,
        "encoder": encoder.meta,
        "augment": views_of(section.augment),
        **training(section, name, n, len(views_of(section.augment))),
    }
    wanted, given = make_objective(recipe).views, len(recipe["augment"])
    refuse_if(
        given != wanted,
        f"objective {section.objective!r} takes {wanted} view(s) of an image, but "
        f"augmentation preset {section.augment!r} makes {given}; choose another "
        f"preset in {name}.augment",
    )
    return recipe
