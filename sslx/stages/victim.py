"""Stage victim: the encoder that will be sold, trained or brought along."""

from functools import partial

from ml_collections import ConfigDict

from sslx import data
from sslx.build import make_objective
from sslx.data.splits import divide
from sslx.experiment.experiment import Experiment
from sslx.experiment.recipes import reading
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages import foreign
from sslx.stages.training import encoder_meta, make_loop, make_training
from sslx.stages.watch import make_watch
from sslx.stages.work import Work
from sslx.train import checkpoint
from sslx.train.fit import fit


def works(experiment: Experiment, config: ConfigDict) -> list[Work]:
    """The victim, and the encoders that it is compared with."""
    runs = (experiment.victim, *experiment.independent)
    return [Work((run,), partial(_make, run, config)) for run in runs]


def _make(run: Run, config: ConfigDict) -> None:
    """Trains a victim on the training images that are not held out."""
    if foreign.is_foreign(config):
        foreign.make(run, config)
        return
    r = run.recipe
    what = f"{r['objective']}, {r['steps']} steps of {r['batch_size']} images"
    with working_on(run, what, together=True) as needed:
        if not needed:
            return
        name, options = config.victim.dataset, reading(config)
        ids = data.ids(name, "train", options)
        rows, _ = divide(ids, r["held_out"], r["split_seed"])
        objective = make_objective(r)
        write_meta(run, finished=False, **encoder_meta(run, objective.head))
        split = data.load(name, "train", options)
        arrays = {entry: getattr(split, entry) for entry in objective.uses}
        if len(rows) < len(split.labels):  # else a copy of all for nothing
            arrays = {entry: array[rows] for entry, array in arrays.items()}
        training = make_training(run, objective, arrays)
        watch = make_watch(config, run, split, ids)
        fit(training, run.path, make_loop(config), watch)
        write_meta(run, finished=True, weights=checkpoint.seal(run.path))
