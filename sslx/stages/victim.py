"""Stage victim: the encoder that will be sold, trained or brought along."""

from ml_collections import ConfigDict

from sslx import data
from sslx.engine import checkpoint
from sslx.engine.fit import fit
from sslx.engine.rundir import working_on, write_meta
from sslx.stages import foreign
from sslx.stages.experiment import Experiment
from sslx.stages.recipes import reading
from sslx.stages.splits import divide
from sslx.stages.train import encoder_meta, make_loop, make_objective, make_training
from sslx.stages.watch import make_watch


def run(experiment: Experiment, config: ConfigDict) -> None:
    """Trains the victim on the training images that are not held out."""
    victim = experiment.victim
    if foreign.is_foreign(config):
        foreign.make(victim, config)
        return
    r = victim.recipe
    what = f"{r['objective']}, {r['steps']} steps of {r['batch_size']} images"
    with working_on(victim, what, together=True) as needed:
        if not needed:
            return
        name, options = config.victim.dataset, reading(config)
        ids = data.ids(name, "train", options)
        rows, _ = divide(ids, r["held_out"], r["split_seed"])
        objective = make_objective(r)
        write_meta(victim, finished=False, **encoder_meta(victim, objective.head))
        split = data.load(name, "train", options)
        arrays = {entry: getattr(split, entry) for entry in objective.uses}
        if len(rows) < len(split.labels):  # else a copy of all for nothing
            arrays = {entry: array[rows] for entry, array in arrays.items()}
        training = make_training(victim, objective, arrays)
        watch = make_watch(config, victim, split, ids)
        fit(training, victim.path, make_loop(config), watch)
        write_meta(victim, finished=True, weights=checkpoint.seal(victim.path))
