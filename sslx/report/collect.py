"""What finished runs have measured: one record for each encoder and data set."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from sslx.embed import shipped
from sslx.queries.plan import images_of
from sslx.report import labels
from sslx.report.defended.honest import honest_records
from sslx.report.records import (
    MEASURES,
    OF_THEFT,
    Member,
    Own,
    Probe,
    Record,
    Score,
    probes_of,
)
from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint
from sslx.types import UserError

# What determines the attacker's pool in a recipe.
POOL = ("pool", "split", "held_out", "test_kept", "split_seed", "left_out", "shipped")


class Theft(NamedTuple):
    """A stealer beside a victim, with what it is called and what makes it."""

    node: Node
    label: str
    cell: str
    changes: dict[str, Any]
    settings: labels.Settings


def collect(
    nodes: dict[str, Node],
    members: list[Member],
    primary: str = "linear",
    names: dict[str, str] | None = None,
) -> list[Record]:
    """The records of thefts, their victims, and what they are compared with.

    Args:
        nodes: The runs that belong, by key, with all that they build on.
        members: Whom to judge against whom.
        primary: The evaluator whose accuracy is compared with the victim's.
        names: Fingerprint of a data set's identity -> its name; else the probe's own.

    Raises:
        UserError: Nothing that is to be judged has a finished probe.
    """
    probes = list(probes_of(nodes))
    sets = _sets(probes, members, names or {})
    by_encoder = {(p.set, p.encoder): p for p in probes if p.encoder}
    by_probe = {p.node.key: p for p in probes}
    measured = _measured(nodes, by_probe)
    thefts = _thefts(nodes, members)
    data = {p.set: fingerprint(p.node.recipe.get("data")) for p in probes}
    records: list[Record] = []
    for set_, name in sets.items():
        for victim, kind in _kinds(nodes, members).items():
            stolen = [
                (by_encoder[set_, theft.node.key], theft)
                for theft in thefts[victim]
                if (set_, theft.node.key) in by_encoder
            ]
            if thefts[victim] and not stolen:  # another experiment's data
                continue
            own = by_encoder.get((set_, victim)) if victim else None
            near = measured.get((set_, victim), {})
            record = partial(
                _record,
                nodes=nodes,
                place=(name, kind, nodes.get(victim or "")),
                judge=_scores(own).get(primary),
                near=near,
                primary=primary,
            )
            changes = _of_victim(members, victim)
            others = [("victim", own)] if own else []
            others += [
                ("independent", probe)
                for probe in probes
                if probe.set == set_
                and probe.encoder not in {member.victim for member in members}
                and _alike(nodes, probe.encoder, victim)
            ]
            others += _levels(probes, set_, nodes.get(victim or ""))
            told = [p for p in probes if p.set == set_ and "majority" in p.node.meta]
            others += [("majority", p._replace(encoder=None)) for p in told[:1]]
            records += [record(probe, "", t.changes, t) for probe, t in stolen]
            records += [record(probe, role, changes) for role, probe in others]
            known = {r.run for r in records if r.role == "honest"}
            users = honest_records(nodes, (name, kind, victim), data[set_])
            records += [r for r in users if r.run not in known]
    return records


def _sets(
    probes: list[Probe], members: list[Member], names: dict[str, str]
) -> dict[str, str]:
    """Set -> name; protocols on the same data are told apart by what differs."""
    stolen = {m.theft for m in members if m.theft}
    if stolen:
        probes = [p for p in probes if p.encoder in stolen]
    if not probes:
        what = "theft" if stolen else "encoder"
        raise UserError(
            f"no {what} here has a finished probe; run the stage probe first"
        )
    own = {p.set: str(p.node.meta["results"][0]["dataset"]) for p in probes}
    data = {p.set: fingerprint(p.node.recipe.get("data")) for p in probes}
    called = {set_: names.get(data[set_], name) for set_, name in own.items()}
    recipes = {p.set: labels.flat(p.node.recipe) for p in probes}
    out = {}
    for set_, name in called.items():
        alike = [recipes[other] for other, n in called.items() if n == name]
        keys = labels.telling(alike)
        out[set_] = " ".join([name, *labels.words(recipes[set_], keys)])
    return out


def _measured(nodes: dict[str, Node], by_probe: dict[str, Probe]) -> dict:
    """(set, victim) -> key of an encoder's probe -> (comparing run, its fidelity)."""
    out: dict[tuple, dict[str, tuple[str, dict]]] = {}
    for node in nodes.values():
        if node.stage != "fidelity" or not node.finished:
            continue
        judge = by_probe.get(node.parents.get("victim", ""))
        probe = by_probe.get(node.parents.get("encoder", ""))
        if judge and probe:
            found = node.meta.get("fidelity") or {}
            own = node.key, {key: found.get(key) for key in MEASURES}
            out.setdefault((judge.set, judge.encoder), {})[probe.node.key] = own
    return out


def _kinds(nodes: dict[str, Node], members: list[Member]) -> dict[str | None, str]:
    """Each victim -> what it is in words."""
    victims = list(dict.fromkeys(m.victim for m in members))
    named = labels.kinds([nodes[v] for v in victims if v])
    return {victim: named[victim] if victim else "" for victim in victims}


def _thefts(
    nodes: dict[str, Node], members: list[Member]
) -> dict[str | None, list[Theft]]:
    """Each victim -> its thefts."""
    pairs: dict[tuple, dict[str, Any]] = {}
    for m in members:
        pair = m.victim, m.theft
        pairs[pair] = common([pairs.get(pair, m.changes), m.changes])
    kinds = _kinds(nodes, members)
    several = len(set(kinds.values())) > 1
    told = [labels.told(nodes, kinds[victim], t) for victim, t in pairs if t]
    called = iter(zip(labels.thefts(told), told, strict=True))
    out: dict[str | None, list[Theft]] = {victim: [] for victim in kinds}
    for (victim, theft), changes in pairs.items():
        if theft:
            (label, settings), told_of = next(called)
            kind = told_of.kind if several else ""
            cell = labels.cell(label, told_of.work, kind)
            out[victim].append(Theft(nodes[theft], label, cell, changes, settings))
    return out


def common(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all dicts have alike."""
    first, *rest = several
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in rest)
    }


def _of_victim(members: list[Member], victim: str | None) -> dict[str, Any]:
    """The changes that make a victim."""
    found = common([m.changes for m in members if m.victim == victim])
    return {k: v for k, v in found.items() if not k.startswith(OF_THEFT)}


def _alike(nodes: dict[str, Node], encoder: str | None, victim: str | None) -> bool:
    """Whether an encoder was trained as the victim, but for its seed."""
    a, b = (nodes[key].recipe if key in nodes else {} for key in (encoder, victim))
    return bool(b) and a | {"seed": None} == b | {"seed": None}


def _levels(
    probes: list[Probe], set_: str, victim: Node | None
) -> Iterator[tuple[str, Probe]]:
    """The untrained encoders and the pixels that a victim's thefts stand above.

    Untrained is the victim's own network with the victim's seed, where there are such;
    else with any seed; of a victim that does not say what it is, any network.
    """
    own = [p for p in probes if p.set == set_ and p.encoder is None]
    untrained = [p for p in own if p.untrained is not None]
    recipe = victim.recipe if victim else {}
    for key, wanted in (("encoder", recipe.get("encoder")), ("seed", _seed(victim))):
        fits = [p for p in untrained if (p.untrained or {}).get(key) == wanted]
        untrained = fits or untrained
    yield from (("untrained", p) for p in untrained)
    yield from (("pixels", p) for p in own if p.untrained is None)


def _seed(node: Node | None) -> int | None:
    return node.recipe.get("seed") if node else None


def _record(
    probe: Probe,
    role: str,
    changes: dict[str, Any],
    theft: Theft | None = None,
    *,
    nodes: dict[str, Node],
    place: tuple[str, str, Node | None],
    judge: Score | None,
    near: dict[str, tuple[str, dict]],
    primary: str,
) -> Record:
    """What the probe of an encoder says, and of a theft what it took.

    Args:
        probe: The encoder's.
        role: The encoder's; a theft's follows from whom it asked.
        changes: What makes it.
        theft: What it is beside, for a theft.
        nodes: All runs.
        place: Data set, kind of victim and the victim.
        judge: What the primary evaluator says of the victim.
        near: Key of a probe -> (comparing run, fidelity to the victim).
        primary: The evaluator that is compared with the victim's.
    """
    dataset, kind, victim = place
    constant = role == "majority"
    scores = _scores(probe, "majority" if constant else "results")
    untrained = {} if constant else probe.untrained or {}
    own, encoder = scores.get(primary), nodes.get(probe.encoder or "")
    compared, fidelity = (
        (None, {}) if constant else near.get(probe.node.key, (None, {}))
    )
    label = untrained.get("statistics", "batch") if untrained else None
    r = theft.node.recipe if theft else {}
    asked = nodes.get(theft.node.parents.get("responses", "")) if theft else None
    total = (asked.meta.get("queries") or {}) if asked else {}
    accounts = asked.meta.get("accounts") if asked else None
    return Record(
        dataset=dataset,
        kind=kind,
        role=role or ("stolen" if asked else "alone"),
        theft=theft.label if theft else label,
        cell=theft.cell if theft else None,
        changes=changes,
        settings=theft.settings if theft else {},
        victim=victim.key if victim else None,
        run=probe.encoder or probe.node.key,
        probe=probe.node.key,
        compared=compared,
        asked=asked.key if asked else None,
        attack=r.get("attack"),
        loss=r.get("loss", "own") if theft else None,
        queries=labels.queries(nodes, theft.node) if theft else None,
        seed=_seed(encoder) if encoder else untrained.get("seed"),
        victim_seed=_seed(victim),
        confidence=probe.node.recipe.get("confidence", 0.95),
        scores=scores,
        of_victim=own.accuracy / judge.accuracy
        if own and judge and judge.accuracy
        else None,
        fidelity=fidelity,
        accounts=accounts or ({"attacker": total} if total else {}),
        usd=total.get("cost") if asked else 0.0 if theft else None,
        own=_own(nodes, theft.node) if theft else None,
        images=_of_trainings(nodes, encoder, "images", max),
        passes=_of_trainings(nodes, encoder, "passes", sum),
        flops=_of_trainings(nodes, encoder, "flops", sum),
        victim_flops=_of_trainings(nodes, victim, "flops", sum),
    )


def _own(nodes: dict[str, Node], steal: Node) -> Own:
    """What a stealer has without answers; see ``experiment.thefts`` for the recipes."""
    asked = nodes.get(steal.parents.get("responses", ""))
    r = (asked or steal).recipe
    pool = {key: r.get(key) for key in POOL}
    network = fingerprint([steal.recipe.get("encoder"), pool])
    # What is drawn without looking at anything goes by its numbers, else by its run.
    chosen: Any = r.get("asked") or steal.parents.get("asked")
    if asked:
        chosen = asked.key
        if r.get("plan") == "random":
            chosen = {"images": images_of(r), "rounds": r["rounds"]}
    return Own(network, fingerprint(chosen) if chosen else None)


def _scores(probe: Probe | None, what: str = "results") -> dict[str, Score]:
    keys = ("l2", "converged", "l2_at_edge", "l2_undecided")
    return {
        row["evaluator"]: Score(
            row["accuracy"],
            tuple(row["interval"]),
            row["n_test"],
            {key: row[key] for key in keys if key in row},
        )
        for row in (probe.node.meta[what] if probe else [])
    }


def _of_trainings(nodes: dict[str, Node], node: Node | None, what: str, of: Callable):
    """Of a run's training and of the networks it began with; None if unknown.

    A head that was trained before lets no image through; what cleans answers is not a
    theft's training, but it is work.
    """
    if node is None:
        return None
    roles = ("ssl",) if what == "passes" else ("ssl", "head", "own", "first")
    before = (nodes.get(node.parents.get(role, "")) for role in roles)
    runs = [run for run in (node, *before) if run]
    known = [(shipped.trained(run.recipe) or run.meta).get(what) for run in runs]
    return None if None in known else of(known)
