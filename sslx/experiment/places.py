"""How runs are carried out, and where lies what they name, from their configs."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from sslx import data
from sslx.context import Context, Place, Watching
from sslx.embed import recording, shipped
from sslx.experiment.pools import open_pool, sets_of
from sslx.experiment.recipes import encoder_of, reading
from sslx.experiment.separation import Apart
from sslx.models.weight_files import read_trunk
from sslx.runs.names import fingerprint
from sslx.service.secret import read_secret, seal
from sslx.train import checkpoint
from sslx.train.fit import Loop


def make_loop(config: ConfigDict) -> Loop:
    """How trainings are carried out, from the section engine."""
    return Loop(**{name: config.engine[name] for name in Loop._fields})


def make_context(configs: Sequence[ConfigDict], apart: Sequence[Apart]) -> Context:
    """What stages must know besides their runs.

    Args:
        configs: Of all combinations, whose data sets were found to be at hand; how runs
            are carried out is the same in all.
        apart: All that is left out of pools and of figures.
    """
    first = configs[0]
    places: dict[str, Place] = {}
    files: dict[str, str] = {}
    recordings = {}
    for config in configs:
        v, options = config.victim, reading(config)
        recorded = recording.recorded_in(v.source)
        names = [name for name, _ in sets_of(config)]
        if not recorded:
            names.append(v.dataset)
        if config.steal.pool not in ("held_out", "test", "answered"):
            names.append(config.steal.pool)
        if config.service.calibration.images:
            names += {config.service.calibration.data} - {"held_out"}
        if config.service.secret:
            files[seal(read_secret(config.service.secret))] = config.service.secret
        for name in names:
            try:
                identity = data.describe(name, options).identity
            except data.Missing:  # a pool that nothing here asks
                continue
            places[fingerprint(identity)] = Place(name, options)
        if v.weights:
            trunk = read_trunk(v.weights, encoder_of(v, config.precision).meta)
            files[checkpoint.digest(trunk)] = v.weights
        if name := shipped.named(v.source):
            files[shipped.victims()[name]["weights"]] = str(shipped.file_of(name))
        if recorded:
            found = recording.item_of(recording.record(recorded))
            files[checkpoint.digest(found)] = recorded
            if config.steal.pool == "answered":
                pool = open_pool(config, []).identity
                recordings[pool["answered"]] = (recorded, sets_of(config))
    return Context(
        loop=make_loop(first),
        places=places,
        files=files,
        left_out={a.key: a.rows for a in apart},
        recordings=recordings,
        watching=Watching(
            first.victim.watch_every, first.probe.knn_k, first.probe.knn_temperature
        ),
        keep_features=first.engine.keep_features,
    )
