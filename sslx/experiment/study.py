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
from sslx.progress import say
from sslx.report import study_report
from sslx.report.study_rows import Pairs
from sslx.runs.files import write_meta
from sslx.runs.lineage import read_node
from sslx.runs.locks import working_on
from sslx.runs.names import Run, make_run
from sslx.stages import probe, steal, victim
from sslx.stages.schedule import carry_out
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


def _pairs(study: Study) -> Pairs:
    """Which victim each theft is to be compared with: keys of the two runs."""
    found: Pairs = [
        (f"victim/{m.experiment.victim.name}", f"steal/{cell.steal.name}")
        for m in study.members
        for cell in m.experiment.cells
    ]
    return list(dict.fromkeys(found))


def works(study: Study) -> list[Work]:
    """All the work of a study but its report, each after what it builds on."""
    found: list[Work] = []
    stages = study.members[0].config.stages
    if "victim" in stages:
        for m in study.members:
            found += victim.works(m.experiment, m.config)
    if "steal" in stages:
        for m in study.members:
            found += steal.works(m.experiment, m.config)
    if "probe" in stages:
        sets = [p.dataset for m in study.members for p in m.experiment.probes]
        for dataset in dict.fromkeys(sets):
            for m in study.members:
                found += probe.works_on(dataset, m.experiment, m.config)
    return once(found)


def carry_out_study(study: Study) -> None:
    """Does what is missing of a study, its report at last."""
    say(f"[study] {study.report.recipe['name']}: {len(study.members)} combinations")
    carry_out(works(study))
    if "report" in study.members[0].config.stages:
        carry_out([Work((study.report,), partial(_write, study))])


def _write(study: Study) -> None:
    report = study.report
    with working_on(report, f"{len(study.members)} combinations") as needed:
        if not needed:
            return
        pairs = _pairs(study)
        write_meta(report, finished=False, pairs=pairs)
        nodes = [read_node(run.path) for run in report.parents.values()]
        title = f"Study {report.recipe['name']}"
        by_key = {node.key: node for node in nodes}
        study_report.write(report.path, by_key, pairs, title, _notes(study))
        write_meta(report, finished=True)


def _notes(study: Study) -> list[str]:
    """What must be known of the figures."""
    experiments = [m.experiment for m in study.members]
    skipped = dict.fromkeys(name for e in experiments for name in e.skipped)
    lacking = {name: n for e in experiments for name, n in e.unanswered.items()}
    return [f"{name} was not at hand and is left out." for name in skipped] + [
        f"A victim is not probed on {name}: {n} of its images were not asked of it."
        for name, n in lacking.items()
    ]
