"""A study: the thefts of a grid of settings and seeds, and one report of all.

Each combination of the grid is an experiment. They share victims, answers, features
and whatever else has the same recipe; none of them writes a report of its own.
"""

import re
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx.experiment.changes import GRID, changed, pairs
from sslx.experiment.experiment import Experiment, resolve
from sslx.experiment.thefts import Cell
from sslx.progress import say
from sslx.runs.names import Run, make_run
from sslx.stages import probe, steal, victim
from sslx.stages.schedule import carry_out
from sslx.stages.together import groups, train_together
from sslx.stages.work import Work, once
from sslx.types import UserError


class Member(NamedTuple):
    """One combination of the grid."""

    change: str
    config: ConfigDict
    experiment: Experiment


class Study(NamedTuple):
    """All combinations, and the run of the report."""

    members: list[Member]
    report: Run


def combinations(grid: tuple[Any, ...]) -> list[str]:
    """One change for each combination; those of the last axis run fastest.

    Raises:
        UserError: Not of that form, or two axes set the same key.
    """
    for axis in grid:
        if not isinstance(axis, tuple) or not all(isinstance(c, str) for c in axis):
            raise UserError(
                "study.grid must hold a tuple of changes for each axis, as in "
                "(('steal.loss=mse', 'steal.loss=infonce'), ('seed=0', 'seed=1')), not "
                f"{axis!r}"
            )
        if not axis:
            raise UserError("study.grid has an axis without a change; leave it out")
    found = [" ".join(filter(None, parts)) for parts in product(*grid)]
    for change in found:
        pairs(change, GRID)  # a key twice
    return list(dict.fromkeys(found))


def resolve_study(config: ConfigDict, workdir: Path) -> Study:
    """The experiments of a study's config.

    Raises:
        UserError: What is wrong with a combination, and with which.
    """
    if "report" in config.stages and "steal" not in config.stages:
        raise UserError("a study steals: config.stages must have 'steal' and 'probe'")
    if not re.fullmatch(r"[\w.-]+", config.study.name):
        raise UserError(
            "study.name must be of letters, digits, '.', '-' and '_', not "
            f"{config.study.name!r}"
        )
    if config.steal.also:
        raise UserError(
            "a study takes its thefts from study.grid alone; write steal.also=()"
        )
    members = []
    for change in combinations(config.study.grid):
        own = changed(config, change, GRID)
        try:
            members.append(Member(change, own, resolve(own, workdir)))
        except UserError as error:
            raise UserError(f"study.grid {change!r}: {error}") from None
    runs: dict[Path, Run] = {}
    for member in members:
        _gather(member.experiment.report.parents, runs)
    recipe = {
        "format": 1,  # grows with the report
        "name": config.study.name,
        "grid": [member.change for member in members],
        "confidence": config.probe.confidence,
    }
    parents = {f"run{i}": run for i, run in enumerate(runs.values())}
    report = make_run(workdir, "report", config.study.name, recipe, parents)
    return Study(members, report)


def _gather(parents: dict[str, Run], into: dict[Path, Run]) -> None:
    """Adds runs and what they build on, by their paths."""
    for run in parents.values():
        if run.path not in into:
            _gather(run.parents, into)
            into[run.path] = run


def works(study: Study) -> list[Work]:
    """All the work of a study but its report, each after what it builds on."""
    found: list[Work] = []
    stages = study.members[0].config.stages
    if "victim" in stages:
        for m in study.members:
            found += victim.works(m.experiment, m.config)
    if "steal" in stages:
        found += _thefts(study)
    if "probe" in stages:
        sets = [p.dataset for m in study.members for p in m.experiment.probes]
        for dataset in dict.fromkeys(sets):
            for m in study.members:
                found += probe.works_on(dataset, m.experiment, m.config)
    return once(found)


def _thefts(study: Study) -> list[Work]:
    """What the stealers need, then the stealers, those together that may be."""
    found: list[Work] = []
    cells: list[Cell] = []
    configs: dict[Path, ConfigDict] = {}
    for m in study.members:
        found += steal.preparations(m.experiment, m.config)
        cells += m.experiment.cells
        configs |= {cell.steal.path: m.config for cell in m.experiment.cells}
    for group in groups(cells, study.members[0].config.engine.together):
        own = [configs[cell.steal.path] for cell in group]
        runs = tuple(cell.steal for cell in group)
        found.append(Work(runs, partial(train_together, group, own)))
    return found


def carry_out_study(study: Study) -> None:
    """Does what is missing of a study, its report at last."""
    say(f"[study] {study.report.recipe['name']}: {len(study.members)} combinations")
    carry_out(works(study))
