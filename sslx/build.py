"""From recipes to what trains: encoder and views, objective, optimiser, seed."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp

from sslx.attacks import Theft, attack_of
from sslx.data.augment import augment_batch
from sslx.data.views import read_recipe
from sslx.losses import loss_of
from sslx.models import make_encoder
from sslx.models.preprocess import normalise
from sslx.objectives import OBJECTIVES
from sslx.registry import traits_of
from sslx.runs.names import Run
from sslx.train.optim import make_optimiser
from sslx.types import Objective, Task


def make_views(recipe: dict):
    """``views(key, images)``: random views (b, v, h, w, c) of uint8 images, normalised.

    As many as the preset has recipes. Batch-major, so that the axis which is split
    over the devices leads.
    """
    preset = [read_recipe(numbers) for numbers in recipe["augment"]]

    def views(key: jax.Array, images: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(preset))
        each = [
            normalise(augment_batch(k, images, r), recipe["mean"], recipe["std"])
            for k, r in zip(keys, preset, strict=True)
        ]
        return jnp.stack(each, axis=1)

    return views


def make_objective(recipe: dict) -> Objective:
    """The training method that a victim's recipe calls for."""
    encoder = make_encoder(recipe["encoder"]["name"], **recipe["encoder"]["kw"])
    task = Task(recipe["encoder"]["kw"]["dtype"], recipe["steps"], recipe["classes"])
    build = OBJECTIVES[recipe["objective"]]
    return build(encoder, make_views(recipe), task, **recipe["numbers"])


def make_theft(recipe: dict, answer_dim: int, classes: int, **given: Any) -> Objective:
    """What an attack trains on answers, from a stealer's recipe.

    Args:
        recipe: The stealer's.
        answer_dim: Width of the answers.
        classes: Of the service's classifier; 0 where it answers without.
        **given: The fields ``match``, ``trunk`` and ``head`` of ``Theft``.
    """
    encoder = recipe["encoder"]
    build = attack_of(recipe["attack"]).objective
    assert build is not None  # such a run is none on answers
    theft = Theft(
        answer_dim=answer_dim,
        dtype=encoder["kw"]["dtype"],
        classes=classes,
        labels="match" in given and traits_of(loss_of(recipe["loss"])).labels,
        plain=lambda images: normalise(
            images.astype(jnp.float32) / 255, recipe["mean"], recipe["std"]
        ),
        **given,
    )
    return build(
        make_encoder(encoder["name"], **encoder["kw"]),
        make_views(recipe),
        theft,
        **recipe["attack_numbers"],
    )


def make_head(recipe: dict, answer_dim: int) -> Objective:
    """What trains the projection head of an attack, from the head's recipe."""
    build = attack_of(recipe["attack"]).head
    assert build is not None
    theft = Theft(answer_dim=answer_dim, dtype="float32")
    return build(theft, **recipe["attack_numbers"])


def passes_of(run: Run) -> int | None:
    """Views of images that go through a run's encoder in its training.

    None of what trains no encoder. What it began with is not counted.
    """
    r = run.recipe
    if "encoder" not in r:
        return None
    views = len(r["augment"])
    if "responses" in run.parents:
        # Each view asked is a pass of its own, unless the attack says otherwise.
        asked = r.get("clean_views", run.parents["responses"].recipe["views"])
        views = attack_of(r["attack"]).passes(r["attack_numbers"], asked)
    return int(r["batch_size"] * r["steps"] * views)


def trainings_of(steal: Run) -> list[Run]:
    """A stealer's run, after that of the network it began with, where there is one."""
    return [*(run for role, run in steal.parents.items() if role == "ssl"), steal]


def optimiser_of(recipe: dict):
    """The optimiser and the schedule that a recipe calls for."""
    optim = {k: v for k, v in recipe["optim"].items() if k != "name"}
    name = recipe["optim"]["name"]
    return make_optimiser(name, steps=recipe["steps"], **optim)


def seed_of(recipe: dict) -> int:
    """The seed that a training draws from.

    What an attacker trains without answers has the form of a victim's training, and
    would start from the victim's own weights where both have one seed: its ``role``
    sets it apart.
    """
    if "role" not in recipe:
        return recipe["seed"]
    return zlib.crc32(f"{recipe['role']} {recipe['seed']}".encode())
