"""What can be wrong in a config by itself, said before anything is read."""

import math
import re

from ml_collections import ConfigDict

from sslx import data
from sslx.embed.recording import recorded_in
from sslx.experiment.recipes import positive, reading, whole_seed
from sslx.types import UserError, refuse_if

# A config's stages, in their order -> the stages of the runs that they make.
STAGES = {
    "victim": ("victim",),
    "steal": ("classifier", "responses", "steal"),
    "probe": ("features", "probe", "fidelity", "gallery"),
    "report": ("report",),
}
TUPLES = {
    "stages": str,
    "data.mean": float,
    "data.std": float,
    "probe.datasets": str,
    "probe.few_labels": float,
    "probe.l2_grid": float,
    "service.classifier.l2_grid": float,
    "steal.alone": str,
}


def check(config: ConfigDict) -> None:
    """Raises a UserError for what is wrong in the sections that all stages share."""
    _check_tuples(config)
    for stage in config.stages:
        refuse_if(
            stage not in STAGES,
            f"unknown stage {stage!r}; known: {', '.join(STAGES)}",
        )
    refuse_if(
        config.precision not in ("float32", "bfloat16"),
        f"precision must be float32 or bfloat16, not {config.precision!r}",
    )
    whole_seed("seed", config.seed)
    if config.data.split_seed is not None:
        whole_seed("split_seed", config.data.split_seed)
    for key in (
        "log_every",
        "save_every",
        "keep",
        "steps_per_dispatch",
        "cpu_devices",
        "patience",
    ):
        positive("engine", {key: config.engine[key]})
    refuse_if(
        config.study.name and not re.fullmatch(r"[\w.-]+", config.study.name),
        "study.name must be of letters, digits, '.', '-' and '_', not "
        f"{config.study.name!r}",
    )


def _check_tuples(config: ConfigDict) -> None:
    """Raises a UserError unless tuples hold what they should; flags take anything."""
    for key, kind in TUPLES.items():
        section = config
        *path, last = key.split(".")
        for name in path:
            section = section[name]
        for value in section[last]:
            number = isinstance(value, int | float) and math.isfinite(value)
            if not (number if kind is float else isinstance(value, str)):
                word = "numbers" if kind is float else "names"
                raise UserError(f"{key} must hold {word}, not {value!r}")


def check_sets(config: ConfigDict, steals: bool) -> None:
    """Raises where a set is not at hand: reading the others may take a minute.

    Args:
        config: Of one combination.
        steals: Whether the attacker's images are needed.
    """
    needed = [] if recorded_in(config.victim.source) else [config.victim.dataset]
    if steals and config.steal.pool not in ("held_out", "test", "answered"):
        needed.append(config.steal.pool)
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
