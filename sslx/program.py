"""The program: from a config to finished runs and their report."""

from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from sslx import hosts, report, stages
from sslx.experiment.checks import STAGES
from sslx.experiment.graph import Experiment, resolve
from sslx.progress import say
from sslx.runs.names import with_ancestors
from sslx.runs.paths import is_utf8, local_path
from sslx.stages.scheduler import Make, carry_out
from sslx.stages.victim import count_check
from sslx.train.mesh import data_mesh
from sslx.train.pinned import pinned
from sslx.types import UserError, refuse_if


@pinned()
def run(config: ConfigDict, workdir: str | Path) -> Path | None:
    """Runs what is missing of an experiment; says where the report is.

    The table is printed, too. Several processes that were started as one train
    together; all else the first does, while the others wait. JAX's switches are set
    for as long as it runs (``sslx.train.pinned``).

    Args:
        config: As ``configs/default.py`` has it.
        workdir: Root of all runs; created where missing.

    Returns:
        The report's directory, None where ``config.stages`` has no report.

    Raises:
        UserError: Something the user can mend.
        sslx.train.interrupt.Stopped: A signal came; what was computed is saved.
    """
    workdir = local_path(workdir)
    refuse_if(
        "\\" in str(workdir),
        f"--workdir={str(workdir)!r} has a backslash, which the writers of checkpoints "
        "take for a folder's end; rename it",
    )
    refuse_if(
        not is_utf8(workdir),
        f"--workdir={str(workdir)!r} is not UTF-8, which the formats of checkpoints "
        "and reports cannot name; rename it",
    )
    experiment = resolve(config, workdir)
    _prepare(experiment, config, workdir)
    for victim in {m.victim.path: m.victim for m in experiment.members}.values():
        count_check(victim)
    chosen = [
        kind for stage in STAGES if stage in config.stages for kind in STAGES[stage]
    ]
    goals = [run for run in experiment.goals if run.stage in chosen]
    if "report" in config.stages:
        goals.append(experiment.report)
    carry_out(goals, chosen, _makers(experiment))
    if "report" not in config.stages:
        return None
    folder = experiment.report.path
    if hosts.first():
        print(report.table_text(folder))
        print(f"page: {folder / 'report.html'}")
        print(f"report: {folder / 'report.md'}", flush=True)
    return folder


def _makers(experiment: Experiment) -> Mapping[str, Make]:
    """Stage -> what makes a run of it."""
    make = {
        name: lambda run, make=stage: make(run, experiment.context)
        for name, stage in stages.STAGES.items()
    }
    return {**make, "report": report.make}


def _prepare(experiment: Experiment, config: ConfigDict, workdir: Path) -> None:
    """Says what is left out; raises where processes or devices do not fit."""
    told = experiment.report.recipe
    if told["skipped"] and "probe" in config.stages:
        names = ", ".join(told["skipped"])
        say(f"[probe] not at hand, left out (probe.skip_missing): {names}")
    for why in experiment.left_out:
        say(why)
    for name, n in told["unanswered"].items():
        say(f"[probe] victim on {name}: left out, {n} images were not asked of it")
    for training in with_ancestors(experiment.goals):
        if "batch_size" in training.recipe:
            try:
                data_mesh(training.recipe["batch_size"])
            except UserError as error:
                raise UserError(f"{training.key}: {error}") from None
    # How a run is carried out is in no name, but decides when processes synchronise.
    loop, watching = experiment.context.loop, experiment.context.watching
    how = f"{config.stages} {loop} {watching}"
    hosts.meet(f"{how} {experiment.report.name}", workdir)
