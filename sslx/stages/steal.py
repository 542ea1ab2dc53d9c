"""Stage steal: ask within the budget, then train the stealer on the stored answers."""

from ml_collections import ConfigDict

from sslx.engine import checkpoint
from sslx.engine.fit import fit
from sslx.engine.rundir import working_on, write_meta
from sslx.stages.experiment import Cell, Experiment
from sslx.stages.query import answered, ask
from sslx.stages.train import encoder_meta, make_loop, make_theft, make_training


def run(experiment: Experiment, config: ConfigDict) -> None:
    """Asks for and trains every cell, the headline first."""
    asked = set()
    for cell in experiment.cells:
        if cell.responses.name not in asked:  # cells that ask the same share a run
            ask(cell, config)
            asked.add(cell.responses.name)
        _train(cell, config)


def _train(cell: Cell, config: ConfigDict) -> None:
    r = cell.steal.recipe
    what = f"{r['loss']} on {cell.queries} answers, {r['steps']} steps"
    with working_on(cell.steal, what, together=True) as needed:
        if not needed:
            return
        images, answers = answered(cell, config)
        objective = make_theft(cell.attack, r, answers.shape[1])
        write_meta(cell.steal, finished=False, **encoder_meta(cell.steal, None))
        arrays = {"images": images, "answers": answers}
        fit(
            make_training(cell.steal, objective, arrays),
            cell.steal.path,
            make_loop(config),
        )
        write_meta(cell.steal, finished=True, weights=checkpoint.seal(cell.steal.path))
