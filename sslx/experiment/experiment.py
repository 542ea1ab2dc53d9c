"""From a config to the runs it asks for.

Nothing is compiled or trained here, so what is wrong in a config is said at once. The
result is a graph of ``Run``: the stages work from recipes and parents, and read of the
config only where data lies and how to carry a run out.
"""

import math
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.embed.recording import recorded_in
from sslx.experiment import thefts
from sslx.experiment.changes import changed
from sslx.experiment.probes import Probe, at_hand, make_probes
from sslx.experiment.recipes import positive, reading, victim_run, whole_seed
from sslx.experiment.thefts import OWN, Cell
from sslx.runs.names import Run, make_run
from sslx.stages.foreign import foreign_run, is_foreign, unanswered
from sslx.types import UserError

INDEPENDENT = 1_000_000  # the first seed of encoders that nobody steals
STAGES = ("victim", "steal", "probe", "report")


class Experiment(NamedTuple):
    """All runs of a config; ``cells[0]`` is the headline; none without a theft.

    ``independent`` are encoders trained as the victim, which nobody steals;
    ``skipped`` are the probe sets that are not at hand and may be left out;
    ``unanswered`` those without a probe of the victim, and how many of their images
    nobody asked it.
    """

    victim: Run
    independent: list[Run]
    cells: list[Cell]
    probes: list[Probe]
    report: Run
    skipped: list[str]
    unanswered: dict[str, int]


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
    needed = [] if recorded_in(config.victim.source) else [config.victim.dataset]
    pools = {changed(config, c).steal.pool for c in _thefts(config)}
    needed += sorted(pools - {"held_out", "test", "answered"})
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


def _check_tuples(config: ConfigDict) -> None:
    """Raises a UserError unless tuples hold what they should; flags take anything."""
    for key, kind in (
        ("stages", str),
        ("data.mean", float),
        ("data.std", float),
        ("steal.also", str),
        ("probe.datasets", str),
        ("probe.few_labels", float),
        ("probe.l2_grid", float),
        ("service.classifier.l2_grid", float),
    ):
        section = config
        *path, last = key.split(".")
        for name in path:
            section = section[name]
        for value in section[last]:
            number = isinstance(value, int | float) and math.isfinite(value)
            if not (number if kind is float else isinstance(value, str)):
                word = "numbers" if kind is float else "names"
                raise UserError(f"{key} must hold {word}, not {value!r}")


def _independent(config: ConfigDict, workdir: Path) -> list[Run]:
    """Victims of seeds that are used for nothing else."""
    n = config.probe.independent
    if n and is_foreign(config):
        raise UserError(
            "probe.independent trains encoders as the victim was trained, and this one "
            "comes from elsewhere; write 0"
        )
    out = []
    for i in range(n):
        other = config.copy_and_resolve_references().unlock()
        other.seed = INDEPENDENT + i
        out.append(victim_run(other, workdir))
    return out


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
    whole_seed("seed", config.seed)
    if config.data.split_seed is not None:
        whole_seed("split_seed", config.data.split_seed)
    for key in ("log_every", "save_every", "keep", "steps_per_dispatch", "cpu_devices"):
        positive("engine", {key: config.engine[key]})
    # A file of weights is looked at before all sets of the probes are asked for.
    brought = foreign_run(config, workdir) if is_foreign(config) else None
    _check_sets(config)
    victim = brought or victim_run(config, workdir)
    cells = thefts.cells(config, _thefts(config), victim)
    found, skipped = at_hand(config)
    unknown = unanswered(config, list(found))
    independent = _independent(config, workdir)
    probes = make_probes(config, victim, independent, cells, found, unknown)
    recipe = {
        "format": 4,  # grows with the report, so that an older one is made anew
        "seed": config.seed,
        "cells": [[c.attack, c.loss, c.queries, c.pool, c.change] for c in cells],
        "probes": [[p.encoder, p.cell, p.dataset] for p in probes],
        "skipped": skipped,
        "confidence": config.probe.confidence,
        **({"unanswered": unknown} if unknown else {}),
    }
    parents = {
        "victim": victim,
        **{f"responses{i}": c.responses for i, c in enumerate(cells) if c.responses},
        **{f"steal{i}": c.steal for i, c in enumerate(cells)},
        **{f"independent{i}": run for i, run in enumerate(independent)},
        **{f"probe{i}": p.run for i, p in enumerate(probes)},
        **{f"fidelity{i}": p.fidelity for i, p in enumerate(probes) if p.fidelity},
    }
    slug = victim.name.rpartition("-")[0]
    if cells:  # what is done to it in place of how it came to be
        done = [cells[0].attack, *([cells[0].loss] if cells[0].loss != OWN else [])]
        slug = "-".join([*done, slug.partition("-")[2]])
    report = make_run(workdir, "report", slug, recipe, parents)
    return Experiment(victim, independent, cells, probes, report, skipped, unknown)
