"""What can be wrong in a config by itself, said before anything is read."""

import math
import re
from typing import Any

from ml_collections import ConfigDict

from sslx import data
from sslx.build import passes_of, trainings_of
from sslx.embed.recording import recorded_in
from sslx.experiment.recipes import IMAGES, positive, reading, share, whole_seed
from sslx.registry import pick
from sslx.runs.names import Run, fingerprint
from sslx.types import Published, UserError, refuse_if

# A config's stages, in their order -> the stages of the runs that they make.
STAGES = {
    "victim": ("victim",),
    "steal": ("classifier", "responses", "steal"),
    "probe": ("features", "probe", "fidelity", "gallery", "honest", "detection"),
    "report": ("report",),
}
PASSES = ("equal", "as given")  # of study.passes
TUPLES = {
    "stages": str,
    "data.mean": float,
    "service.honest.beside": str,
    "service.honest.detectors": str,
    "service.honest.kinds": str,
    "service.honest.sizes": int,
    "steal.clean": str,
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
    pick(dict.fromkeys(PASSES), config.study.passes, "study.passes")
    pick(dict.fromkeys(IMAGES), config.steal.ssl.images, "steal.ssl.images")
    for row in config.study.published:
        _check_published(row)
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


def _check_published(row: Any) -> None:
    """Raises a UserError unless a row of ``study.published`` has what it must."""
    fields = Published._fields
    kinds = (str, str, str, int | float, int | float, int | float, str)
    fits = isinstance(row, tuple) and len(row) == len(fields)
    refuse_if(
        not fits or not all(map(isinstance, row, kinds)),
        f"study.published must hold tuples of {', '.join(fields)}, not {row!r}",
    )
    refuse_if(
        type(row[3]) is not int or row[3] < 1,
        f"study.published: queries must be a whole number above 0, not {row[3]!r}",
    )
    for name, value in zip(fields[4:6], row[4:6], strict=True):
        share(f"study.published: {name}", float(value))


def _check_tuples(config: ConfigDict) -> None:
    """Raises a UserError unless tuples hold what they should; flags take anything."""
    for key, kind in TUPLES.items():
        section = config
        *path, last = key.split(".")
        for name in path:
            section = section[name]
        for value in section[last]:
            fits = {
                str: isinstance(value, str),
                int: type(value) is int,
                float: isinstance(value, int | float) and math.isfinite(value),
            }
            words = {str: "names", int: "whole numbers", float: "numbers"}
            if not fits[kind]:
                raise UserError(f"{key} must hold {words[kind]}, not {value!r}")


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


def check_equal_work(pairs: list[tuple[Run, Run]]) -> None:
    """Raises where thefts of one kind of victim are trained on more views than others.

    What is trained longer is not better for its answers. Batches of other sizes may
    differ by half a step.

    Args:
        pairs: Victim and stealer.
    """
    tables: dict[str, dict[str, Run]] = {}
    for victim, steal in pairs:
        kind = fingerprint({**victim.recipe, "seed": None})
        tables.setdefault(kind, {})[steal.key] = steal
    for thefts in tables.values():
        work = {key: _work(steal) for key, steal in thefts.items()}
        most = max(work, key=lambda key: work[key][0] - work[key][1])
        least = min(work, key=lambda key: work[key][0] + work[key][1])
        (more, half), (less, other) = work[most], work[least]
        names = [thefts[key].name for key in (most, least)]
        refuse_if(
            more - half > less + other,
            f"thefts of one table are trained unequally: {names[0]} on {more:,} views, "
            f"{names[1]} on {less:,} (what a network began with counts); give all one "
            'steal.passes, with steal.steps=0, or write study.passes="as given"',
        )


def _work(steal: Run) -> tuple[int, float]:
    """Views that a stealer is trained on, and half a step of them."""
    runs = trainings_of(steal)
    views = [passes_of(run) or 0 for run in runs]
    steps = [n / run.recipe["steps"] for n, run in zip(views, runs, strict=True)]
    return sum(views), sum(steps) / 2
