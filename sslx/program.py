"""The stages of an experiment. The only modules that see a config."""

from pathlib import Path

from ml_collections import ConfigDict

from sslx import hosts
from sslx.experiment import study
from sslx.experiment.experiment import Experiment, resolve
from sslx.progress import say
from sslx.report import table_text
from sslx.runs.names import Run
from sslx.stages import probe, steal, victim
from sslx.stages.training import make_loop
from sslx.train.mesh import data_mesh
from sslx.types import UserError

STAGES = {
    "victim": victim.works,
    "steal": steal.works,
    "probe": probe.works,
    "report": lambda experiment, config: [],  # to be: sslx.report.make
}


def run(config: ConfigDict, workdir: str | Path) -> Path | None:
    """Runs what is missing of an experiment or a study; says where the report is.

    The table is printed, too. Several processes that were started as one train
    together; all else the first does, while the others wait.

    Args:
        config: As ``configs/default.py`` has it; a study where it has a grid.
        workdir: Root of all runs; created where missing.

    Returns:
        The report's directory, None where ``config.stages`` has no report.

    Raises:
        UserError: Something the user can mend.
        sslx.train.interrupt.Stopped: A signal came; what was computed is saved.
    """
    workdir = Path(workdir)
    if config.study.grid:
        return _study(config, workdir)
    experiment = resolve(config, workdir)
    _prepare([experiment], config, experiment.report, workdir)
    for stage in STAGES:
        if stage in config.stages:
            for work in STAGES[stage](experiment, config):
                work.do()
    if "report" not in config.stages:
        return None
    folder = experiment.report.path
    if hosts.first():
        _show(table_text(folder), folder)
    return folder


def _study(config: ConfigDict, workdir: Path) -> Path | None:
    found = study.resolve_study(config, workdir)
    _prepare([m.experiment for m in found.members], config, found.report, workdir)
    study.carry_out_study(found)
    if "report" not in config.stages:
        return None
    folder = found.report.path
    if hosts.first():
        _show(table_text(folder), folder)
    return folder


def _prepare(
    experiments: list[Experiment], config: ConfigDict, goal: Run, workdir: Path
) -> None:
    """Says what is left out; raises where processes or devices do not fit."""
    skipped = dict.fromkeys(name for e in experiments for name in e.skipped)
    if skipped and "probe" in config.stages:
        names = ", ".join(skipped)
        say(f"[probe] not at hand, left out (probe.skip_missing): {names}")
    lacking = {name: n for e in experiments for name, n in e.unanswered.items()}
    for name, n in lacking.items():
        say(f"[probe] victim on {name}: left out, {n} images were not asked of it")
    for training in _trained(experiments):
        try:
            data_mesh(training.recipe["batch_size"])
        except UserError as error:
            raise UserError(f"{training.stage}/{training.name}: {error}") from None
    # How a run is carried out is in no name, but decides when processes synchronise.
    how = f"{config.stages} {make_loop(config)} {config.victim.watch_every}"
    hosts.meet(f"{how} {goal.name}", workdir)


def _trained(experiments: list[Experiment]) -> list[Run]:
    """All runs that train, but for victims from elsewhere."""
    runs: dict[Path, Run] = {}
    for e in experiments:
        cells = [run for c in e.cells for run in (c.ssl, c.head, c.steal) if run]
        runs |= {run.path: run for run in (e.victim, *e.independent, *cells)}
    return [run for run in runs.values() if "batch_size" in run.recipe]


def _show(text: str, folder: Path) -> None:
    print(text)
    print(f"page: {folder / 'report.html'}")
    print(f"report: {folder / 'report.md'}", flush=True)
