"""The probes a config asks for: every encoder on every data set, by one protocol."""

from typing import NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.engine.rundir import Run, make_run
from sslx.stages.recipes import check_solver, normalisation, positive, reading, share
from sslx.stages.splits import divide
from sslx.stages.thefts import OWN, Cell
from sslx.types import UserError


class Probe(NamedTuple):
    """One encoder on one data set.

    Attributes:
        encoder: victim, stolen, random or pixels: the word of the report.
        cell: Index of the cell it was stolen in; None for the others.
        dataset: As the config names it.
        run: The probe's run.
    """

    encoder: str
    cell: int | None
    dataset: str
    run: Run


def at_hand(config: ConfigDict) -> tuple[dict[str, data.Info], list[str]]:
    """The probe sets that are there, and the names of those that are left out."""
    found, skipped = {}, []
    for name in config.probe.datasets:
        try:
            found[name] = data.describe(name, reading(config))
        except data.Missing:  # with probe.skip_missing: see _check_sets
            skipped.append(name)
    if skipped and not found:
        raise UserError(
            f"no set of probe.datasets is at hand ({', '.join(skipped)}); prepare one "
            "with `python -m sslx.data.prepare NAME`, or name another"
        )
    return found, skipped


def _untrained(config: ConfigDict, victim: Run, cells: list[Cell]) -> dict | None:
    """The network of the row "random": the victim's, or for an API the headline's.

    None where there is neither; an API does not say what it is.
    """
    for run in (victim, *(cell.steal for cell in cells)):
        if "encoder" in run.recipe:
            numbers = normalisation(config, victim.recipe["image_shape"][2])
            return {"encoder": run.recipe["encoder"], "seed": config.seed, **numbers}
    return None


def _check(config: ConfigDict) -> None:
    """Raises a UserError where the section's own numbers are wrong."""
    p = config.probe
    check_solver("probe", p)
    share("probe.confidence", p.confidence)
    positive("probe", {key: p[key] for key in ("knn_k", "knn_temperature")})
    if len(set(p.datasets)) < len(p.datasets):
        raise UserError("probe.datasets names a set twice")
    positive("probe", {"number of datasets": len(p.datasets)})


def _check_set(config: ConfigDict, name: str, info: data.Info, victim: Run) -> None:
    """Raises a UserError where a data set does not go with victim and protocol."""
    shape = victim.recipe["image_shape"]
    if list(info.image_shape) != shape:
        raise UserError(
            f"probe.datasets: {name!r} has images of shape {info.image_shape}, the "
            f"victim takes {tuple(shape)}; data.size and data.channels bring sets "
            "together"
        )
    if config.probe.knn_k > info.sizes["train"]:
        raise UserError(
            f"probe.knn_k is {config.probe.knn_k}, but {name!r} has only "
            f"{info.sizes['train']} training images"
        )


def _kept(
    config: ConfigDict, name: str, info: data.Info, cells: list[Cell]
) -> float | None:
    """The share of a set's test images that no cell's attacker could have had."""
    pools = [
        (cell.responses or cell.steal).recipe for cell in cells if cell.pool == "test"
    ]
    shares = [r["test_kept"] for r in pools if r["pool"] == info.identity]
    if not shares:
        return None
    kept = min(shares)
    ids = data.ids(name, "test", reading(config))
    _, rows = divide(ids, kept, config.data.split_seed)
    positive("steal", {"number of test images kept": len(rows)})
    return kept


def make_probes(
    config: ConfigDict,
    victim: Run,
    cells: list[Cell],
    sets: dict[str, data.Info],
    unknown: dict[str, int],
) -> list[Probe]:
    """The runs of all probes.

    Args:
        config: The experiment's.
        victim: Its run.
        cells: The thefts.
        sets: The data sets that are at hand.
        unknown: Those of them that the victim cannot be asked for.
    """
    _check(config)
    seed = f"s{config.seed}"
    protocol = config.probe.to_dict()
    del protocol["datasets"], protocol["skip_missing"]
    untrained = _untrained(config, victim, cells)
    probes = []
    for name, info in sets.items():
        _check_set(config, name, info, victim)
        recipe = {
            "data": info.identity,
            "test_kept": _kept(config, name, info, cells),
            "split_seed": config.data.split_seed,
            "image_shape": victim.recipe["image_shape"],
            **protocol,
        }

        def add(word, cell, more, extra, parents, *, name=name, recipe=recipe):
            slug = "-".join(filter(None, (word, sets[name].slug, more)))
            run = make_run(victim.workdir, "probe", slug, recipe | extra, parents)
            probes.append(Probe(word, cell, name, run))

        if name not in unknown:
            add("victim", None, seed, {}, {"encoder": victim})
        for i, c in enumerate(cells):
            what = c.attack if c.loss == OWN else c.loss
            add("stolen", i, f"{what}-{c.queries}q-{seed}", {}, {"encoder": c.steal})
        if untrained is not None:
            add("random", None, seed, {"untrained": untrained}, {})
        add("pixels", None, "", {}, {})
    return probes
