"""From a config to the runs it asks for.

Nothing is compiled or trained here, so what is wrong in a config is said at once. The
result is a graph of ``Run``: the stages work from recipes and parents, and read of the
config only where data lies and how to carry a run out.
"""

import ast
import math
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.engine.rundir import Run, make_run
from sslx.stages.foreign import foreign_run, is_foreign, unanswered
from sslx.stages.pools import responses_run
from sslx.stages.recipes import (
    normalisation,
    positive,
    reading,
    share,
    steal_run,
    victim_run,
)
from sslx.stages.splits import divide
from sslx.types import UserError

STAGES = ("victim", "steal", "probe", "report")


class Cell(NamedTuple):
    """One theft: the answers it pays for and the stealer trained on them.

    Attributes:
        attack: Name of the attack.
        loss: Name of the loss.
        queries: Images sent.
        pool: Where they come from, as the config names it.
        change: The entry of ``steal.also`` that made it; "" for the headline.
        responses: The run of the service.
        steal: The run of the stealer.
    """

    attack: str
    loss: str
    queries: int
    pool: str
    change: str
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
    """All runs of a config; ``cells[0]`` is the headline; none without a theft.

    ``skipped`` are the probe sets that are not at hand and may be left out;
    ``unanswered`` those without a probe of the victim, and how many of their images
    nobody asked it.
    """

    victim: Run
    cells: list[Cell]
    probes: list[Probe]
    report: Run
    skipped: list[str]
    unanswered: dict[str, int]


def _cell(config: ConfigDict, change: str, victim: Run) -> Cell:
    s = changed(config.steal, change)
    try:
        responses = responses_run(config, s, victim)
        run = steal_run(config, s, responses)
    except UserError as error:
        raise UserError(
            f"steal.also {change!r}: {error}" if change else error
        ) from None
    return Cell(s.attack, s.loss, s.queries, s.pool, change, responses, run)


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
            value = text if isinstance(old, str) else ast.literal_eval(text)
            if isinstance(old, float) and type(value) is int:
                value = float(value)
            if type(value) is not type(old):
                raise ValueError
        except (ValueError, SyntaxError):
            raise UserError(
                f"steal.also: {pair!r} is not of type {type(old).__name__}"
            ) from None
        section[last] = value
    return steal


def _thefts(config: ConfigDict) -> tuple[str, ...]:
    """The changes of the steal section that make a cell each, "" the headline's.

    None at all where the stages begin with the victim and leave stealing out: that is
    an experiment without a theft. Stages that begin later go on with what is there.
    """
    if "victim" in config.stages and "steal" not in config.stages:
        return ()
    return ("", *config.steal.also)


def _check_sets(config: ConfigDict) -> None:
    """Raises where a set is not at hand: reading the others may take a minute."""
    needed = [] if config.victim.source.startswith("npz:") else [config.victim.dataset]
    if _thefts(config) and config.steal.pool not in ("held_out", "test", "answered"):
        needed.append(config.steal.pool)
    for name in needed:
        data.find(name, reading(config))
    missing: dict[str, data.Missing] = {}
    for name in () if config.probe.skip_missing else config.probe.datasets:
        try:
            data.find(name, reading(config))
        except data.Missing as error:
            missing[name] = error
    if missing:
        first, *others = missing
        more = f"; missing too: {', '.join(others)}" if others else ""
        raise data.Missing(
            f"{missing[first]}{more}; probe.skip_missing=True goes on without"
        )


def _at_hand(config: ConfigDict) -> tuple[dict[str, data.Info], list[str]]:
    """The probe sets that are there, and the names of those that are left out."""
    found, skipped = {}, []
    for name in config.probe.datasets:
        try:
            found[name] = data.describe(name, reading(config))
        except data.Missing:  # with probe.skip_missing: see _check_sets
            skipped.append(name)
    if skipped and not found:
        raise UserError(
            f"no set of probe.datasets is at hand ({', '.join(skipped)}); prepare one "
            "with `python -m sslx.data.prepare NAME`, or name another"
        )
    return found, skipped


def _untrained(config: ConfigDict, victim: Run, cells: list[Cell]) -> dict | None:
    """The network of the row "random": the victim's, or for an API the headline's.

    None where there is neither; an API does not say what it is.
    """
    for run in (victim, *(cell.steal for cell in cells)):
        if "encoder" in run.recipe:
            numbers = normalisation(config, victim.recipe["image_shape"][2])
            return {"encoder": run.recipe["encoder"], "seed": config.seed, **numbers}
    return None


def _probes(
    config: ConfigDict,
    victim: Run,
    cells: list[Cell],
    at_hand: dict[str, data.Info],
    unknown: dict[str, int],
) -> list[Probe]:
    p = config.probe
    seed, split_seed = f"s{config.seed}", config.data.split_seed
    share("probe.validation", p.validation)
    share("probe.confidence", p.confidence)
    keys = ("knn_k", "knn_temperature", "tolerance", "max_iterations")
    positive("probe", {key: p[key] for key in keys})
    if len(set(p.datasets)) < len(p.datasets):
        raise UserError("probe.datasets names a set twice")
    positive("probe", {"number of datasets": len(p.datasets)})
    positive("probe", {"number of l2_grid entries": len(p.l2_grid)})
    positive("probe", {f"l2_grid[{i}]": l2 for i, l2 in enumerate(p.l2_grid)})
    shape = victim.recipe["image_shape"]
    # No figure may rest on an image that any cell could have asked.
    sold = [cell.responses.recipe for cell in cells if cell.pool == "test"]
    which = ("datasets", "skip_missing")
    untrained = _untrained(config, victim, cells)
    probes = []
    for name, info in at_hand.items():
        if list(info.image_shape) != shape:
            raise UserError(
                f"probe.datasets: {name!r} has images of shape {info.image_shape}, the "
                f"victim takes {tuple(shape)}; data.size and data.channels bring sets "
                "together"
            )
        if p.knn_k > info.sizes["train"]:
            raise UserError(
                f"probe.knn_k is {p.knn_k}, but {name!r} has only "
                f"{info.sizes['train']} training images"
            )
        kept = min(
            (r["test_kept"] for r in sold if r["pool"] == info.identity), default=None
        )
        if kept is not None:
            _, rows_kept = divide(
                data.ids(name, "test", reading(config)), kept, split_seed
            )
            positive("steal", {"number of test images kept": len(rows_kept)})
        recipe = {
            "data": info.identity,
            "test_kept": kept,
            "split_seed": split_seed,
            "image_shape": shape,
            **{k: v for k, v in p.to_dict().items() if k not in which},
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
        absent = {"victim": name in unknown, "random": untrained is None}
        rows = [row for row in rows if not absent.get(row[0])]
        for word, cell, more, extra, parents in rows:
            slug = "-".join(filter(None, (word, info.slug, more)))
            run = make_run(victim.workdir, "probe", slug, recipe | extra, parents)
            probes.append(Probe(word, cell, name, run))
    return probes


def _check_tuples(config: ConfigDict) -> None:
    """Raises a UserError unless tuples hold what they should; flags take anything."""
    for key, kind in (
        ("stages", str),
        ("data.mean", float),
        ("data.std", float),
        ("steal.also", str),
        ("probe.datasets", str),
        ("probe.l2_grid", float),
    ):
        section, _, last = key.rpartition(".")
        for value in (config[section] if section else config)[last]:
            number = isinstance(value, int | float) and math.isfinite(value)
            if not (number if kind is float else isinstance(value, str)):
                word = "numbers" if kind is float else "names"
                raise UserError(f"{key} must hold {word}, not {value!r}")


def resolve(config: ConfigDict, workdir: Path) -> Experiment:
    """The runs a config asks for, headline cell first.

    Raises:
        UserError: Whatever is wrong in the config, in one line.
    """
    _check_tuples(config)
    for stage in config.stages:
        if stage not in STAGES:
            raise UserError(f"unknown stage {stage!r}; known: {', '.join(STAGES)}")
    if config.precision not in ("float32", "bfloat16"):
        raise UserError(
            f"precision must be float32 or bfloat16, not {config.precision!r}"
        )
    for key, value in (("seed", config.seed), ("split_seed", config.data.split_seed)):
        if value is None and key == "split_seed":
            continue
        if type(value) is not int:
            raise UserError(f"{key} must be a whole number, not {value!r}")
        if not 0 <= value < 2**32:
            raise UserError(f"{key} must be 0 or more and below 2**32, not {value}")
    for key in ("log_every", "save_every", "keep", "steps_per_dispatch", "cpu_devices"):
        positive("engine", {key: config.engine[key]})
    _check_sets(config)
    make_victim = foreign_run if is_foreign(config) else victim_run
    victim = make_victim(config, workdir)
    cells = [_cell(config, change, victim) for change in _thefts(config)]
    at_hand, skipped = _at_hand(config)
    unknown = unanswered(config, list(at_hand))
    probes = _probes(config, victim, cells, at_hand, unknown)
    recipe = {
        "format": 2,  # 1 had no report.html; a report of then is made anew
        "seed": config.seed,
        "cells": [[c.attack, c.loss, c.queries, c.pool, c.change] for c in cells],
        "probes": [[p.encoder, p.cell, p.dataset] for p in probes],
        "skipped": skipped,
        "confidence": config.probe.confidence,
        **({"unanswered": unknown} if unknown else {}),
    }
    parents = {
        "victim": victim,
        **{f"responses{i}": c.responses for i, c in enumerate(cells)},
        **{f"steal{i}": c.steal for i, c in enumerate(cells)},
        **{f"probe{i}": p.run for i, p in enumerate(probes)},
    }
    slug = victim.name.rpartition("-")[0]
    if cells:  # what is done to it in place of how it came to be
        slug = f"{cells[0].attack}-{cells[0].loss}-{slug.partition('-')[2]}"
    report = make_run(workdir, "report", slug, recipe, parents)
    return Experiment(victim, cells, probes, report, skipped, unknown)
