"""From a config to the runs it asks for. Here every name and number is checked.

Nothing is compiled or trained here, so what is wrong in a config is said at once. The
result is a graph of ``Run``: the stages work from recipes and parents, and read of the
config only where data lies and how to carry a run out.
"""

import ast
import inspect
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.attacks import ATTACKS
from sslx.data.augment import PRESETS
from sslx.engine.optim import OPTIMISERS
from sslx.engine.rundir import Run, make_run
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.registry import pick
from sslx.service import DEFENCES
from sslx.stages.splits import divide
from sslx.types import UserError

STAGES = ("victim", "steal", "probe", "report")
ACCOUNT = "attacker"


class Cell(NamedTuple):
    """One theft: the answers it pays for and the stealer trained on them.

    Attributes:
        attack: Name of the attack.
        loss: Name of the loss.
        queries: Images sent.
        pool: Where they come from, as the config names it.
        responses: The run of the service.
        steal: The run of the stealer.
    """

    attack: str
    loss: str
    queries: int
    pool: str
    responses: Run
    steal: Run


class Probe(NamedTuple):
    """One encoder on one data set.

    Attributes:
        encoder: victim, stolen, random or pixels: the word of the report.
        cell: Index of the cell it was stolen in; None for the others.
        dataset: As the config names it.
        run: The probe's run.
    """

    encoder: str
    cell: int | None
    dataset: str
    run: Run


class Experiment(NamedTuple):
    """All runs of a config; ``cells[0]`` is the headline."""

    victim: Run
    cells: list[Cell]
    probes: list[Probe]
    report: Run


def data_dir(config: ConfigDict) -> str | None:
    """Where prepared data sets lie, None for the library's own default."""
    return config.data.dir or os.environ.get("TFDS_DATA_DIR")


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
        if p.kind is p.KEYWORD_ONLY and key != "dtype"
    }
    if set(block) != takes:
        wanted, found = (", ".join(sorted(k)) or "nothing" for k in (takes, block))
        raise UserError(f"the block of {what} {name!r} must hold {wanted}, not {found}")
    return block


def _positive(section: str, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if not value > 0:
            raise UserError(f"{section}.{key} must be above 0, not {value}")


def _share(name: str, value: float) -> None:
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
    _positive("data", {f"std[{i}]": v for i, v in enumerate(out["std"])})
    return out


def _training(section: ConfigDict, name: str, precision: str, n: int) -> dict:
    """What victim and stealer have in common: network, views, optimiser, length."""
    pick(OPTIMISERS, section.optim.name, "optimiser")
    _positive(name, {"batch_size": section.batch_size})
    _positive(f"{name}.optim", {"learning_rate": section.optim.learning_rate})
    blocks = section.encoder_kw
    kw = blocks[section.encoder].to_dict() if section.encoder in blocks else {}
    batch_size = min(section.batch_size, n)
    steps = section.steps or section.epochs * (n // batch_size)
    _positive(name, {"epochs (or steps)": steps})
    preset = pick(PRESETS, section.augment, "augmentation preset")
    return {
        "encoder": make_encoder(section.encoder, dtype=precision, **kw).meta,
        "augment": preset._asdict(),
        "optim": section.optim.to_dict(),
        "batch_size": batch_size,
        "steps": steps,
    }


def _victim(config: ConfigDict, workdir: Path, place: str | None) -> Run:
    v = config.victim
    info = data.describe(v.dataset, place)
    _share("data.held_out", config.data.held_out)
    rows, _ = divide(
        data.ids(v.dataset, "train", place),
        config.data.held_out,
        config.data.split_seed,
    )
    training = _training(v, "victim", config.precision, len(rows))
    if training["batch_size"] < 2:
        raise UserError("victim.batch_size must be at least 2")
    recipe = {
        "seed": config.seed,
        "data": info.identity,
        "held_out": config.data.held_out,
        "split_seed": config.data.split_seed,
        "image_shape": info.image_shape,
        **_normalisation(config, info.image_shape[2]),
        "objective": v.objective,
        "numbers": numbers(OBJECTIVES, v.objective, v.objective_kw, "objective"),
        **training,
    }
    slug = f"{v.objective}-{v.encoder}-{info.slug}-s{config.seed}"
    return make_run(workdir, "victim", slug, recipe, {})


def pool_of(
    config: ConfigDict, pool: str, test_kept: float | None
) -> tuple[str, str, np.ndarray]:
    """The attacker's images: (data set, split, rows of the split)."""
    place, victims = data_dir(config), config.victim.dataset
    if pool == "held_out":
        ids = data.ids(victims, "train", place)
        _, rows = divide(ids, config.data.held_out, config.data.split_seed)
        return victims, "train", rows
    if pool == "test" and test_kept is not None:
        _share("steal.test_kept", test_kept)
        ids = data.ids(victims, "test", place)
        rows, _ = divide(ids, test_kept, config.data.split_seed)
        return victims, "test", rows
    size = data.describe(pool, place).sizes["train"]
    return pool, "train", np.arange(size)


def _responses(config: ConfigDict, steal: ConfigDict, victim: Run) -> Run:
    service = config.service
    dataset, split, rows = pool_of(config, steal.pool, steal.test_kept)
    info = data.describe(dataset, data_dir(config))
    if list(info.image_shape) != victim.recipe["image_shape"]:
        raise UserError(
            f"steal.pool {steal.pool!r} has images of shape {info.image_shape}, the "
            f"victim takes {tuple(victim.recipe['image_shape'])}"
        )
    _positive("steal", {"queries": steal.queries})
    _positive("service", {"call_size": service.call_size})
    if steal.queries > len(rows):
        raise UserError(
            f"steal.queries is {steal.queries}, but the pool {steal.pool!r} has only "
            f"{len(rows)} images"
        )
    limit = service.image_limit or steal.queries
    if limit < steal.queries:
        raise UserError(
            f"service.image_limit is {limit}, but steal.queries is {steal.queries}"
        )
    if service.output not in ("representation", "projection"):
        raise UserError(
            f"unknown service.output {service.output!r}; known: projection, "
            "representation"
        )
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


def _cell(config: ConfigDict, steal: ConfigDict, victim: Run) -> Cell:
    pick(ATTACKS, steal.attack, "attack")
    responses = _responses(config, steal, victim)
    recipe = {
        "seed": config.seed,
        "loss": steal.loss,
        "numbers": numbers(LOSSES, steal.loss, steal.loss_kw, "loss"),
        "mean": victim.recipe["mean"],
        "std": victim.recipe["std"],
        "image_shape": victim.recipe["image_shape"],
        **_training(steal, "steal", config.precision, steal.queries),
    }
    slug = (
        f"{steal.attack}-{steal.loss}-{steal.encoder}-{steal.queries}q-s{config.seed}"
    )
    run = make_run(victim.workdir, "steal", slug, recipe, {"responses": responses})
    return Cell(steal.attack, steal.loss, steal.queries, steal.pool, responses, run)


def changed(steal: ConfigDict, change: str) -> ConfigDict:
    """The steal section with one entry of ``steal.also`` applied.

    Args:
        steal: The headline's section.
        change: ``key=value`` pairs with blanks between them; dots lead into blocks.

    Raises:
        UserError: Not of that form, unknown key, or a value of another type.
    """
    steal = steal.copy_and_resolve_references().unlock()
    for pair in change.split():
        key, equals, text = pair.partition("=")
        *path, last = key.split(".")
        section = steal
        for name in path:
            section = section.get(name) if isinstance(section, ConfigDict) else None
        if not equals or not isinstance(section, ConfigDict) or last not in section:
            raise UserError(
                f"steal.also: {pair!r} is not KEY=VALUE with a key of the steal section"
            )
        old = section[last]
        try:
            value = text if isinstance(old, str) else type(old)(ast.literal_eval(text))
            if value != (text if isinstance(old, str) else ast.literal_eval(text)):
                raise ValueError
        except (ValueError, SyntaxError, TypeError):
            raise UserError(
                f"steal.also: {pair!r} is not of type {type(old).__name__}"
            ) from None
        section[last] = value
    return steal


def _probes(config: ConfigDict, victim: Run, cells: list[Cell]) -> list[Probe]:
    p, place = config.probe, data_dir(config)
    seed = f"s{config.seed}"
    _share("probe.validation", p.validation)
    _share("probe.confidence", p.confidence)
    _positive("probe", {"knn_k": p.knn_k, "tolerance": p.tolerance})
    _positive("probe", {"number of datasets": len(p.datasets)})
    _positive("probe", {"number of l2_grid entries": len(p.l2_grid)})
    shape = victim.recipe["image_shape"]
    # No figure may rest on an image that any cell could have asked.
    asked = {cell.steal.parents["responses"].recipe["test_kept"] for cell in cells}
    asked.discard(None)
    probes = []
    for name in p.datasets:
        info = data.describe(name, place)
        if list(info.image_shape) != shape:
            raise UserError(
                f"probe.datasets: {name!r} has images of shape {info.image_shape}, the "
                f"victim takes {tuple(shape)}"
            )
        same = info.identity == victim.recipe["data"]
        recipe = {
            "data": info.identity,
            "test_kept": min(asked) if asked and same else None,
            "split_seed": config.data.split_seed,
            "image_shape": shape,
            **{k: v for k, v in p.to_dict().items() if k != "datasets"},
        }
        untrained = {
            key: victim.recipe[key] for key in ("encoder", "mean", "std", "seed")
        }
        rows: list[tuple[str, int | None, str, dict, dict]] = [
            ("victim", None, seed, {}, {"encoder": victim}),
            *(
                ("stolen", i, f"{c.loss}-{c.queries}q-{seed}", {}, {"encoder": c.steal})
                for i, c in enumerate(cells)
            ),
            ("random", None, seed, {"untrained": untrained}, {}),
            ("pixels", None, "", {}, {}),
        ]
        for word, cell, more, extra, parents in rows:
            slug = "-".join(filter(None, (word, info.slug, more)))
            run = make_run(victim.workdir, "probe", slug, recipe | extra, parents)
            probes.append(Probe(word, cell, name, run))
    return probes


def resolve(config: ConfigDict, workdir: Path) -> Experiment:
    """The runs a config asks for, headline cell first.

    Raises:
        UserError: Whatever is wrong in the config, in one line.
    """
    for stage in config.stages:
        if stage not in STAGES:
            raise UserError(f"unknown stage {stage!r}; known: {', '.join(STAGES)}")
    if config.precision not in ("float32", "bfloat16"):
        raise UserError(
            f"precision must be float32 or bfloat16, not {config.precision!r}"
        )
    if config.seed < 0:
        raise UserError(f"seed must be 0 or more, not {config.seed}")
    for key in ("log_every", "save_every", "keep", "steps_per_dispatch", "cpu_devices"):
        _positive("engine", {key: config.engine[key]})
    victim = _victim(config, workdir, data_dir(config))
    sections = [config.steal, *(changed(config.steal, s) for s in config.steal.also)]
    cells = [_cell(config, section, victim) for section in sections]
    probes = _probes(config, victim, cells)
    recipe = {
        "seed": config.seed,
        "cells": [[c.attack, c.loss, c.queries, c.pool] for c in cells],
        "probes": [[p.encoder, p.cell, p.dataset] for p in probes],
        "confidence": config.probe.confidence,
    }
    parents = {
        "victim": victim,
        **{f"responses{i}": c.responses for i, c in enumerate(cells)},
        **{f"steal{i}": c.steal for i, c in enumerate(cells)},
        **{f"probe{i}": p.run for i, p in enumerate(probes)},
    }
    slug = victim.name.rpartition("-")[0].replace(
        config.victim.objective, f"{cells[0].attack}-{cells[0].loss}", 1
    )
    report = make_run(workdir, "report", slug, recipe, parents)
    return Experiment(victim, cells, probes, report)
