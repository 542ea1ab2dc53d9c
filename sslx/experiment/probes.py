"""The probes a config asks for: every encoder on every data set, by one protocol."""

import math
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.attacks.attack import OWN
from sslx.build import passes_of
from sslx.data.labels import check_tested
from sslx.evals.linear import few_labelled
from sslx.evals.reference import LEARNING_RATES
from sslx.evals.svm import is_small
from sslx.experiment.recipes import (
    check_solver,
    normalisation,
    positive,
    reading,
    share,
)
from sslx.experiment.separation import Test
from sslx.experiment.thefts import Theft
from sslx.runs.names import Run, make_run
from sslx.types import refuse_if

FEWEST = 20  # test images to compare two encoders on
# Of the section, what determines a probe's figures; other keys name no probe.
PROTOCOL = (
    "l2_grid",
    "validation",
    "tolerance",
    "max_iterations",
    "few_labels",
    "reference",
    "knn_k",
    "knn_temperature",
    "confidence",
)


class Bench(NamedTuple):
    """A data set, and how encoders are judged on it.

    Attributes:
        workdir: Root of all runs, as the victim's.
        slug: Of the set.
        on: The set's part of a recipe.
        protocol: The protocol's, the same for all encoders.
        compared: That of a comparison with the victim; None on too few test images.
        words: Of the probes' runs.
        small: Whether a kernel machine on its pixels takes seconds.
    """

    workdir: Any
    slug: str
    on: dict[str, Any]
    protocol: dict[str, Any]
    compared: dict[str, Any] | None
    words: dict[str, str]
    small: bool


def at_hand(config: ConfigDict) -> tuple[dict[str, data.Info], list[str]]:
    """The probe sets that are there, and the names of those that are left out."""
    found, skipped = {}, []
    for name in config.probe.datasets:
        try:
            info = data.describe(name, reading(config))
        except data.Missing:  # with probe.skip_missing: see checks.check_sets
            skipped.append(name)
            continue
        what = f"probe.datasets: {name!r}"
        data.check_labelled(info, what, "a probe needs classes: name a set with labels")
        data.check_has(info, "test", what)
        options = reading(config)
        train, test = (data.labels_of(name, s, options) for s in ("train", "test"))
        check_tested(train, test, what)
        found[name] = info
    refuse_if(
        skipped and not found,
        f"no set of probe.datasets is at hand ({', '.join(skipped)}); prepare one "
        "with `sslx prepare NAME`, or name another",
    )
    return found, skipped


def _check(config: ConfigDict) -> None:
    """Raises a UserError where the section's own numbers are wrong."""
    p = config.probe
    check_solver("probe", p)
    share("probe.confidence", p.confidence)
    for value in p.few_labels:
        if value:  # 0: one picture of each class
            share("probe.few_labels", value)
    refuse_if(
        len({f"{value:g}" for value in p.few_labels}) < len(p.few_labels),
        "probe.few_labels names a share twice",
    )
    refuse_if(
        p.few_labels and p.validation > 0.5,
        "probe.validation must be 0.5 at most with probe.few_labels, which are "
        f"cross-validated, not {p.validation}",
    )
    share("probe.fidelity.fit", p.fidelity.fit)
    refuse_if(
        p.fidelity.rows < 10,
        f"probe.fidelity.rows must be 10 or more, not {p.fidelity.rows}",
    )
    positive("probe.fidelity", {"neighbours": p.fidelity.neighbours})
    positive("probe", {key: p[key] for key in ("knn_k", "knn_temperature")})
    refuse_if(
        len(set(p.datasets)) < len(p.datasets),
        "probe.datasets names a set twice",
    )
    positive("probe", {"number of datasets": len(p.datasets)})
    evaluators = ["linear", "knn", *map(few_labelled, p.few_labels)]
    evaluators += ["reference_probe"] if p.reference else []
    refuse_if(
        p.primary not in evaluators,
        f"probe.primary must be one of {', '.join(evaluators)}, which this config "
        f"asks for, not {p.primary!r}",
    )


def check_shape(victim: Run, key: str, name: str, info: data.Info) -> None:
    """Raises a UserError where a victim does not take a set's images."""
    shape = victim.recipe["image_shape"]
    refuse_if(
        list(info.image_shape) != shape,
        f"{key}: {name!r} has images of shape {info.image_shape}, the victim takes "
        f"{tuple(shape)}; data.size and data.channels bring sets together",
    )


def _check_set(config: ConfigDict, name: str, info: data.Info, victim: Run) -> None:
    """Raises a UserError where a data set does not go with victim and protocol."""
    check_shape(victim, "probe.datasets", name, info)
    refuse_if(
        config.probe.knn_k > info.sizes["train"],
        f"probe.knn_k is {config.probe.knn_k}, but {name!r} has only "
        f"{info.sizes['train']} training images",
    )


def make_probes(
    config: ConfigDict,
    victim: Run,
    independent: list[Run],
    theft: Theft | None,
    tests: list[Test],
    unknown: dict[str, int],
) -> list[Run]:
    """The runs of all probes and comparisons with the victim, set by set.

    Args:
        config: The combination's.
        victim: Its run.
        independent: Encoders that were trained as the victim was, and not stolen.
        theft: The theft, if there is one.
        tests: The data sets that are at hand.
        unknown: Those of them that the victim cannot be asked for.
    """
    _check(config)
    found = []
    for test in tests:
        _check_set(config, test.name, test.info, victim)
        bench = _bench(config, victim, test)
        seed = f"s{config.seed}"
        judged = None
        if test.name not in unknown:
            judged = _probe(bench, "victim", seed, victim)
        others = []
        if theft is not None:
            r = theft.steal.recipe
            what = theft.attack if theft.loss == OWN else theft.loss
            queries = theft.responses.recipe["queries"] if theft.responses else 0
            more = f"{what}-{queries}q-s{r['seed']}"
            others.append(_probe(bench, "stolen", more, theft.steal))
            for run in theft.alone:
                more = f"alone-{passes_of(run)}p-s{r['seed']}"
                others.append(_probe(bench, "stolen", more, run))
        for run in independent:
            more = f"s{run.recipe['seed']}"
            others.append(_probe(bench, "independent", more, run))
        if network := _untrained(config, victim, theft):
            # The better one is the baseline; which that is differs by network and set.
            initial = network | {"statistics": "initial"}
            for more, made in ((seed, network), (f"initial-{seed}", initial)):
                others.append(_probe(bench, "untrained", more, None, made))
        found += [judged] if judged else []
        found += [*others, _probe(bench, "pixels", "", None)]
        if judged and bench.compared:
            found += _comparisons(bench, judged, others)
    return found


def _untrained(config: ConfigDict, victim: Run, theft: Theft | None) -> dict | None:
    """The network that is probed untrained: the victim's, or for an API the stealer's.

    None where there is neither; an API does not say what it is.
    """
    for run in (victim, *([theft.steal] if theft else [])):
        if "encoder" in run.recipe:
            numbers = normalisation(config, victim.recipe["image_shape"][2])
            if "shipped" in run.recipe:
                numbers = {key: run.recipe[key] for key in ("mean", "std")}
            return {"encoder": run.recipe["encoder"], "seed": config.seed, **numbers}
    return None


def on_set(config: ConfigDict, test: Test) -> dict[str, Any]:
    """What determines a set and the rows that figures are on."""
    return {
        "data": test.info.identity,
        "test_kept": test.kept,
        "split_seed": config.data.split_seed,
        **test.apart.recipe(),
        **data.copies(test.name, reading(config), "train", "test"),
    }


def _bench(config: ConfigDict, victim: Run, test: Test) -> Bench:
    """How encoders are judged on a set."""
    p, info = config.probe.to_dict(), test.info
    rows = on_set(config, test)
    on = {"data": info.identity, "image_shape": victim.recipe["image_shape"]}
    compared = None
    if len(test.rows) >= FEWEST:
        compared = {**rows, **p["fidelity"]}
    protocol = {"format": 2, **rows, **{key: p[key] for key in PROTOCOL}}
    del protocol["data"]  # of the features that it judges
    small = is_small(info.sizes["train"], math.prod(info.image_shape))
    if test.uneven:
        protocol["uneven"] = True
    words = test.apart.words()
    return Bench(victim.workdir, info.slug, on, protocol, compared, words, small)


def _probe(
    bench: Bench, word: str, more: str, encoder: Run | None, network: dict | None = None
) -> Run:
    """The run of a probe, on the run of the features.

    Args:
        bench: The set.
        word: What the encoder is.
        more: What else tells it apart, for the run's name.
        encoder: Its run; None for the untrained one and for pixels.
        network: What the untrained one is made of.
    """
    slug = "-".join(filter(None, (word, bench.slug, more)))
    recipe = bench.on | ({"untrained": network} if network else {})
    parents = {"encoder": encoder} if encoder else {}
    features = make_run(bench.workdir, "features", slug, recipe, parents)
    if network and "statistics" not in network:
        # 0.1 called it random; what it has found is taken.
        older = make_run(
            bench.workdir, "features", slug.replace(word, "random", 1), recipe, {}
        )
        if older.path.exists():
            slug, features = older.name.rpartition("-")[0], older
    protocol = bench.protocol
    # The study's rates: one for what is its provider's, one for the attacker.
    if protocol["reference"]:
        whose = "stolen" if word == "stolen" else "victim"
        protocol = protocol | {"reference": LEARNING_RATES[whose]}
    if word == "pixels" and bench.small:
        protocol = protocol | {"svm": True}
    recipe = bench.on | protocol
    parents = {"features": features}
    return make_run(bench.workdir, "probe", slug, recipe, parents, bench.words)


def _comparisons(bench: Bench, victim: Run, others: list[Run]) -> list[Run]:
    """The runs that compare encoders with the victim, from their probes."""
    scale: dict[str, Run] = {}
    out = []
    for probe in others:
        # By the statistics of a batch, as ever: the first of the two.
        if "untrained" in probe.parents["features"].recipe:
            scale.setdefault("untrained", probe)
    for probe in others:
        slug = probe.name.rpartition("-")[0]
        parents = {"victim": victim, "encoder": probe, **scale}
        assert bench.compared is not None
        out.append(make_run(bench.workdir, "fidelity", slug, bench.compared, parents))
    return out
