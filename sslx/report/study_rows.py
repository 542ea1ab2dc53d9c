"""What a study has measured: one flat record for each encoder and data set.

A record has these entries, None where there is nothing to say:

- ``role``: victim, independent (a further victim that was not asked), stolen, untrained
  or pixels; ``theft``: the label of a theft, "" else.
- ``set``: data set, with protocols told apart; ``n_test``; ``confidence``.
- ``kind``: the victim's recipe in words, without its seed; ``victim``, ``run``: keys of
  the runs (an untrained encoder's and the pixels' are those of their probes).
- ``attack``, ``loss``, ``queries``, ``settings``, ``counters``, ``usd``.
- ``victim_seed``, ``seed``: of the encoder, for a theft also that of its queries.
- ``flops``, ``victim_flops``: of their trainings, as sslx/stages/flops.py estimates.
- ``accuracy``, ``interval``: evaluator -> figure; ``victim_accuracy``, ``ratio``: of
  the linear probe; ``fidelity``: measure -> figure against this victim.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from sslx.models.flops import answers_flops, unlabelled_flops
from sslx.report import study_labels
from sslx.report.likeness import MEASURES
from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint
from sslx.types import UserError

Pairs = list[tuple[str | None, str]]
Record = dict[str, Any]


class Probe(NamedTuple):
    """A finished probe.

    Attributes:
        node: The run.
        set: Its data and protocol, a fingerprint.
        encoder: Key of the run whose features it judges; None for no such run.
        untrained: What an untrained encoder is made of; None for others.
    """

    node: Node
    set: str
    encoder: str | None
    untrained: dict[str, Any] | None


def collect(nodes: dict[str, Node], pairs: Pairs) -> list[Record]:
    """The records of the thefts, their victims, and what they are compared with.

    Args:
        nodes: The runs that belong, by key, with all that they build on.
        pairs: (key of a victim or None, key of a stealer that is judged against it).

    Raises:
        UserError: No theft has a finished probe.
    """
    pairs = list(dict.fromkeys((victim, steal) for victim, steal in pairs))
    probes = list(probes_of(nodes))
    stolen = {steal for _, steal in pairs}
    sets = _names([p for p in probes if p.encoder in stolen])
    if not sets:
        raise UserError("no theft here has a finished probe; run the stage probe first")
    by_encoder = {(p.set, p.encoder): p for p in probes if p.encoder}
    by_probe = {p.node.key: p for p in probes}
    measured = _measured(nodes, by_probe)
    victims = list(dict.fromkeys(victim for victim, _ in pairs))
    named = study_labels.kinds([nodes[v] for v in victims if v])
    kinds = {victim: named[victim] if victim else "" for victim in victims}
    told = [_told(nodes, kinds[victim], steal) for victim, steal in pairs]
    labels = study_labels.thefts(told)
    records: list[Record] = []
    for set_, name in sets.items():
        for victim in victims:
            thefts = [
                (by_encoder[set_, steal], told_as)
                for (of, steal), told_as in zip(pairs, labels, strict=True)
                if of == victim and (set_, steal) in by_encoder
            ]
            if not thefts:  # another experiment's data
                continue
            own = by_encoder.get((set_, victim)) if victim else None
            near = measured.get((set_, victim), {})
            record = partial(
                _record,
                set_name=name,
                nodes=nodes,
                kind=kinds[victim],
                victim=victim,
                judge=own,
            )
            if own:
                records.append(record("victim", own, {}))
            for key, fidelity in near.items():
                probe = by_probe[key]
                other = nodes.get(probe.encoder or "")
                if other and other.stage == "victim" and other.key != victim:
                    records.append(record("independent", probe, fidelity))
            for probe, (label, settings) in thefts:
                found = record("stolen", probe, near.get(probe.node.key))
                more = {"theft": label, "settings": settings}
                records.append(found | more | _theft(nodes, nodes[probe.encoder or ""]))
            records += [
                record(role, probe, near.get(probe.node.key))
                for role, probe in _levels(probes, set_, nodes.get(victim or ""))
            ]
    return records


def probes_of(nodes: dict[str, Node]) -> Iterator[Probe]:
    """The finished probes, whether on features that were kept or not."""
    for node in nodes.values():
        if node.stage != "probe" or not (node.finished and node.meta.get("results")):
            continue
        # Features kept apart say what they are of; else the probe itself does.
        source = nodes.get(node.parents.get("features", ""), node)
        # The study's own probe has a rate for victims and one for thefts.
        apart = ("untrained", "reference")
        recipe = {k: v for k, v in node.recipe.items() if k not in apart}
        yield Probe(
            node,
            fingerprint(recipe),
            source.parents.get("encoder"),
            source.recipe.get("untrained"),
        )


def _names(probes: list[Probe]) -> dict[str, str]:
    """Set -> name; protocols on the same data are told apart by what differs."""
    names = {p.set: str(p.node.meta["results"][0]["dataset"]) for p in probes}
    recipes = {p.set: study_labels.flat(p.node.recipe) for p in probes}
    out = {}
    for set_, name in names.items():
        alike = [recipes[other] for other, n in names.items() if n == name]
        keys = study_labels.telling(alike)
        out[set_] = " ".join([name, *study_labels.words(recipes[set_], keys)])
    return out


def _measured(nodes: dict[str, Node], by_probe: dict[str, Probe]) -> dict:
    """(set, victim) -> key of the encoder's probe -> its fidelity to that victim."""
    out: dict[tuple, dict[str, dict]] = {}
    for node in nodes.values():
        if node.stage != "fidelity" or not node.finished:
            continue
        judge = by_probe.get(node.parents.get("victim", ""))
        probe = by_probe.get(node.parents.get("encoder", ""))
        if judge and probe:
            found = node.meta.get("fidelity") or {}
            own = {key: found.get(key) for key in MEASURES}
            out.setdefault((judge.set, judge.encoder), {})[probe.node.key] = own
    return out


def _levels(
    probes: list[Probe], set_: str, victim: Node | None
) -> list[tuple[str, Probe]]:
    """The untrained encoders and the pixels that a victim's thefts stand above.

    Untrained is the victim's own network with the victim's seed, where there are such;
    else with any seed; of a victim that does not say what it is, any network.
    """
    own = [p for p in probes if p.set == set_ and p.encoder is None]
    pixels = [("pixels", p) for p in own if p.untrained is None]
    untrained = [p for p in own if p.untrained is not None]
    recipe = victim.recipe if victim else {}
    for key, wanted in (("encoder", recipe.get("encoder")), ("seed", _seed(victim))):
        fits = [p for p in untrained if (p.untrained or {}).get(key) == wanted]
        untrained = fits or untrained
    return [("untrained", p) for p in untrained] + pixels


def _seed(node: Node | None) -> int | None:
    return node.recipe.get("seed") if node else None


def _record(
    role: str,
    probe: Probe,
    fidelity: dict | None,
    *,
    set_name: str,
    nodes: dict[str, Node],
    kind: str,
    victim: str | None,
    judge: Probe | None,
) -> Record:
    """What all records have."""
    rows = {row["evaluator"]: row for row in probe.node.meta["results"]}
    accuracy = {name: row["accuracy"] for name, row in rows.items()}
    bound = None
    if judge:
        bound = {r["evaluator"]: r["accuracy"] for r in judge.node.meta["results"]}
    encoder = nodes.get(probe.encoder or "")
    seed = _seed(encoder) if encoder else (probe.untrained or {}).get("seed")
    of = nodes.get(victim or "")
    linear = bound and bound.get("linear")
    return {
        "role": role,
        "theft": "",
        "set": set_name,
        "n_test": rows["linear"]["n_test"],
        "confidence": probe.node.recipe.get("confidence", 0.95),
        "kind": kind,
        "victim": victim,
        "run": probe.encoder or probe.node.key,
        "attack": None,
        "loss": None,
        "queries": None,
        "settings": {},
        "counters": None,
        "usd": None,
        "victim_seed": _seed(of),
        "seed": seed,
        "flops": unlabelled_flops(encoder.recipe)
        if encoder and encoder.stage == "victim"
        else None,
        "victim_flops": unlabelled_flops(of.recipe) if of else None,
        "accuracy": accuracy,
        "interval": {name: row["interval"] for name, row in rows.items()},
        "victim_accuracy": linear,
        "ratio": accuracy["linear"] / linear if linear else None,
        "fidelity": fidelity or {},
    }


def _told(nodes: dict[str, Node], kind: str, steal: str):
    """(attack, loss, queries, kind of victim, settings) of a theft."""
    node = nodes[steal]
    settings = _settings(nodes, node, "")
    attack, loss = node.recipe["attack"], node.recipe.get("loss", "own")
    for key in ("attack", "loss", "queries", "ssl.attack", "head.attack"):
        settings.pop(key, None)
    return attack, loss, _asked(nodes, node).get("queries", 0), kind, settings


def _settings(nodes: dict[str, Node], node: Node, path: str) -> dict[str, str]:
    """Of a run and of all that it builds on, but for the victim."""
    out: dict[str, str] = {}
    for role, parent in node.parents.items():
        if role != "victim" and parent in nodes:
            # What was asked is spoken of without its block, as in the config.
            inner = path if role == "responses" else f"{path}{role}."
            out |= _settings(nodes, nodes[parent], inner)
    return out | study_labels.flat(node.recipe, path)


def _asked(nodes: dict[str, Node], steal: Node) -> dict[str, Any]:
    """The recipe of the answers that a stealer was trained on; {} for none."""
    responses = nodes.get(steal.parents.get("responses", ""))
    return responses.recipe if responses else {}


def _theft(nodes: dict[str, Node], node: Node) -> Record:
    """What the record of a stealer has beside."""
    responses = nodes.get(node.parents.get("responses", ""))
    asked = _asked(nodes, node)
    queries = asked.get("queries", 0)
    return {
        "attack": node.recipe["attack"],
        "loss": node.recipe.get("loss", "own"),
        "queries": queries,
        "counters": responses.meta.get("queries") if responses else None,
        "usd": queries * asked.get("price", 0.0),
        "flops": _flops(nodes, node, asked),
    }


def _flops(nodes: dict[str, Node], steal: Node, asked: dict) -> float | None:
    """Of a stealer's training, with what it trained before."""
    if not asked:
        return unlabelled_flops(steal.recipe)
    before = [nodes[steal.parents[r]] for r in ("ssl", "head") if r in steal.parents]
    parts = [answers_flops(steal.recipe, asked)]
    for node in before:
        parts.append(
            unlabelled_flops(node.recipe)
            if "objective" in node.recipe
            else answers_flops(node.recipe, asked)
        )
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
