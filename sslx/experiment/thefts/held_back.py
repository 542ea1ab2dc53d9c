"""Of a config: what of the attacker's images trains nothing and judges the training."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sslx.experiment.recipes import positive, share, views_of
from sslx.models.heads import linear_widths
from sslx.objectives import OBJECTIVES
from sslx.queries.held_back import count_of
from sslx.registry import keywords, pick
from sslx.runs.names import Run
from sslx.types import Objective, UserError, refuse_if


def trained_on(steal: ConfigDict, n: int) -> int:
    """How many of n images of the attacker train; raises where too few judge."""
    part = steal.held_back.share
    if not part:
        return n
    share("steal.held_back.share", part)
    held = count_of(part, n)
    refuse_if(
        min(held, n - held) < 2,
        f"steal.held_back.share={part:g} of {n} images leaves {held} to judge by and "
        f"{n - held} to train on; both must be 2 at least",
    )
    return n - held


def whole(config: ConfigDict) -> ConfigDict:
    """The config with nothing held back."""
    config = config.copy_and_resolve_references().unlock()
    config.steal.held_back.share = 0.0
    return config


def share_back(steal: ConfigDict) -> dict[str, Any]:
    """The part of a recipe that trains on answers; nothing where nothing is held."""
    part = steal.held_back.share
    return {"held_back": {"share": part}} if part else {}


def unlabelled_back(steal: ConfigDict) -> dict[str, Any]:
    """That of a training without answers: with what its loss is measured at."""
    fixed = steal.held_back
    if not fixed.share:
        return {}
    found = {"share": fixed.share, "augment": views_of(fixed.augment)}
    needs, given = len(views_of(steal.ssl.augment)), len(found["augment"])
    refuse_if(
        given != needs,
        f"steal.held_back.augment={fixed.augment!r} makes {given} view(s) of an image, "
        f"but objective {steal.ssl.objective!r} takes {needs}",
    )
    if "temperature" in keywords(pick(OBJECTIVES, steal.ssl.objective, "objective")):
        positive("steal.held_back", {"temperature": fixed.temperature})
        found["temperature"] = fixed.temperature
    return {"held_back": found}


def check_classifier(attack: str, objective: Objective, run: Run) -> None:
    """Raises unless what trains on classes has a classifier that can be judged.

    Args:
        attack: Its name.
        objective: What trains.
        run: The stealer's.
    """
    responses = run.parents["responses"].recipe
    shape = jax.ShapeDtypeStruct
    images = (2, *run.recipe["image_shape"])
    asked = (2, responses["views"], *run.recipe["image_shape"])
    batch = {
        "images": shape(images, jnp.uint8),
        "asked": shape(asked, jnp.uint8),
        "answers": shape((2, responses["views"], responses["dim"]), jnp.float32),
        "labels": shape((2,), jnp.int32),
    }
    used = {name: batch[name] for name in objective.uses}
    params, *_ = jax.eval_shape(objective.init, jax.random.key(0), used)
    try:
        classes = linear_widths(params["head"])[-1]
    except (KeyError, IndexError):
        classes = 0
    if classes != responses["classes"]:
        raise UserError(
            f"steal.held_back of service.output={responses['output']!r} judges the "
            f"stealer's classifier, and attack {attack!r} has none in params['head']: "
            f"linear layers dense1, ..., the last as wide as the "
            f"{responses['classes']} classes"
        )
