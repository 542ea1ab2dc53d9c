"""The stages of an experiment. The only modules that see a config."""

from pathlib import Path

from ml_collections import ConfigDict

from sslx.engine import hosts
from sslx.engine.mesh import data_mesh
from sslx.engine.rundir import read_json
from sslx.progress import say
from sslx.stages import probe, report, steal, victim
from sslx.stages.experiment import resolve
from sslx.stages.report_text import plain, table
from sslx.stages.train import make_loop
from sslx.types import UserError

STAGES = {
    "victim": victim.works,
    "steal": steal.works,
    "probe": probe.works,
    "report": report.works,
}


def run(config: ConfigDict, workdir: str | Path) -> Path | None:
    """Runs what is missing of an experiment; prints its table and where the report is.

    Several processes train together; all else the first does, while the others wait.

    Args:
        config: As ``configs/default.py`` has it.
        workdir: Root of all runs; created where missing.

    Returns:
        The report's directory, None where ``config.stages`` has no report.

    Raises:
        UserError: Something the user can mend.
        sslx.engine.interrupt.Stopped: A signal came; what was computed is saved.
    """
    experiment = resolve(config, Path(workdir))
    if experiment.skipped and "probe" in config.stages:
        names = ", ".join(experiment.skipped)
        say(f"[probe] not at hand, left out (probe.skip_missing): {names}")
    for name, n in experiment.unanswered.items():
        say(f"[probe] victim on {name}: left out, {n} images were not asked of it")
    trained = [
        run for cell in experiment.cells for run in (cell.ssl, cell.head, cell.steal)
    ]
    for training in filter(None, (experiment.victim, *trained)):
        if "batch_size" not in training.recipe:  # a victim from elsewhere
            continue
        try:
            data_mesh(training.recipe["batch_size"])
        except UserError as error:
            raise UserError(f"{training.stage}/{training.name}: {error}") from None
    # How a run is carried out is in no name, but decides when processes synchronise.
    how = f"{config.stages} {make_loop(config)} {config.victim.watch_every}"
    hosts.meet(f"{how} {experiment.report.name}", Path(workdir))
    for stage in STAGES:
        if stage in config.stages:
            for work in STAGES[stage](experiment, config):
                work.do()
    if "report" not in config.stages:
        return None
    folder = experiment.report.path
    if not hosts.first():
        return folder
    print(plain(table(read_json(folder / "results.json"))))
    print(f"page: {folder / 'report.html'}")
    print(f"report: {folder / 'report.md'}", flush=True)
    return folder
