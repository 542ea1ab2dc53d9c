"""The probes a config asks for: every encoder on every data set, by one protocol."""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.evals.reference import LEARNING_RATES
from sslx.experiment.recipes import (
    check_solver,
    normalisation,
    positive,
    reading,
    share,
)
from sslx.experiment.thefts import OWN, Cell
from sslx.runs.names import Run, make_run
from sslx.types import UserError

FEWEST = 20  # test images to compare two encoders on


class Probe(NamedTuple):
    """One encoder on one data set.

    Attributes:
        encoder: victim, stolen, independent, random or pixels: the word of the report.
        cell: Index of the cell it was stolen in, or of the independent encoder; None
            for the others.
        dataset: As the config names it.
        run: The probe's run.
        fidelity: The run that compares the encoder with the victim; None for the
            victim, for pixels, and where the victim is not probed.
    """

    encoder: str
    cell: int | None
    dataset: str
    run: Run
    fidelity: Run | None = None

    @property
    def features(self) -> Run:
        """The run that holds the encoder's features."""
        return self.run.parents["features"]


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
            "with `sslx prepare NAME`, or name another"
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
    for value in p.few_labels:
        share("probe.few_labels", value)
    if len({f"{value:g}" for value in p.few_labels}) < len(p.few_labels):
        raise UserError("probe.few_labels names a share twice")
    if p.few_labels and p.validation > 0.5:
        raise UserError(
            "probe.validation must be 0.5 at most with probe.few_labels, which are "
            f"cross-validated, not {p.validation}"
        )
    if p.independent < 0:
        raise UserError(f"probe.independent must be 0 or more, not {p.independent}")
    share("probe.fidelity.fit", p.fidelity.fit)
    if p.fidelity.rows < 10:
        raise UserError(
            f"probe.fidelity.rows must be 10 or more, not {p.fidelity.rows}"
        )
    positive("probe.fidelity", {"neighbours": p.fidelity.neighbours})
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
    independent: list[Run],
    cells: list[Cell],
    sets: dict[str, data.Info],
    unknown: dict[str, int],
) -> list[Probe]:
    """The runs of all probes, with those of the features they stand on.

    Args:
        config: The experiment's.
        victim: Its run.
        independent: Encoders that were trained as the victim was, and not stolen.
        cells: The thefts.
        sets: The data sets that are at hand.
        unknown: Those of them that the victim cannot be asked for.
    """
    _check(config)
    shape, seed = victim.recipe["image_shape"], f"s{config.seed}"
    untrained = _untrained(config, victim, cells)
    probes = []
    for name, info in sets.items():
        _check_set(config, name, info, victim)
        on = {"data": info.identity, "image_shape": shape}
        kept = _kept(config, name, info, cells)
        protocol = _protocol(config, kept)

        def make(word, cell, more, encoder=None, *, name=name, on=on, proto=protocol):
            slug = "-".join(filter(None, (word, sets[name].slug, more)))
            extra = {"untrained": untrained} if word == "random" else {}
            parents = {"encoder": encoder} if encoder else {}
            features = make_run(victim.workdir, "features", slug, on | extra, parents)
            # The study's rates: one for what is its provider's, one for the attacker.
            if proto["reference"]:
                kind = "stolen" if word == "stolen" else "victim"
                proto = proto | {"reference": LEARNING_RATES[kind]}
            parents = {"features": features}
            run = make_run(victim.workdir, "probe", slug, on | proto, parents)
            return Probe(word, cell, name, run)

        rows = [] if name in unknown else [make("victim", None, seed, victim)]
        for i, c in enumerate(cells):
            what = c.attack if c.loss == OWN else c.loss
            own = f"s{c.steal.recipe['seed']}"
            rows.append(make("stolen", i, f"{what}-{c.queries}q-{own}", c.steal))
        for i, run in enumerate(independent):
            more = f"s{run.recipe['seed']}"
            rows.append(make("independent", i, more, run))
        if untrained is not None:
            rows.append(make("random", None, seed))
        if info.sizes["test"] * (kept or 1) >= FEWEST:
            rows = _with_fidelity(rows, config)
        probes += [*rows, make("pixels", None, "")]
    return probes


def _protocol(config: ConfigDict, kept: float | None) -> dict[str, Any]:
    """The part of a probe's recipe that is the same for all encoders."""
    p = config.probe.to_dict()
    for key in ("datasets", "skip_missing", "independent", "fidelity"):
        del p[key]
    first = {"format": 2, "test_kept": kept}  # format grows with the protocol
    return {**first, "split_seed": config.data.split_seed, **p}


def _with_fidelity(rows: list[Probe], config: ConfigDict) -> list[Probe]:
    """Gives the probes of one data set the runs that compare them with the victim's."""
    by = {probe.encoder: probe.run for probe in rows}
    if "victim" not in by:
        return rows
    victim = by["victim"]
    kept = ("data", "test_kept", "split_seed")
    recipe = {
        **{key: victim.recipe[key] for key in kept},
        **config.probe.fidelity.to_dict(),
    }
    scale = {"untrained": by["random"]} if "random" in by else {}

    def compared(probe: Probe) -> Probe:
        if probe.encoder == "victim":
            return probe
        slug = probe.run.name.rpartition("-")[0]
        parents = {"victim": victim, "encoder": probe.run, **scale}
        run = make_run(victim.workdir, "fidelity", slug, recipe, parents)
        return probe._replace(fidelity=run)

    return [compared(probe) for probe in rows]
