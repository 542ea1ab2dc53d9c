"""Who of those that ask a service raises an alarm, and what a thief has by then."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sslx.report.defended.frontier import Study, Thief, best, knows, thief_in_json
from sslx.report.defended.honest import defences
from sslx.report.records import Record
from sslx.runs.lineage import Node
from sslx.service.detectors import Rates, Verdict, summarise

Place = tuple[str, str, str]  # data set, kind of victim, defence in words


class Detected(NamedTuple):
    """What a detector says of those who ask a service.

    Attributes:
        dataset: What is judged on.
        kind: The victim's.
        defence: In words.
        detector: Its name.
        streams: Honest ones that set a threshold.
        honest: Kind of user -> how many raise an alarm.
        naive: The accounts of thefts that take the answers as they are; None without.
        adapted: Of those that know of defences.
        stopped: The best naive theft with no more queries than half of the naive
            thieves are seen after; None where none is so small.
    """

    dataset: str
    kind: str
    defence: str
    detector: str
    streams: int
    honest: dict[str, Rates]
    naive: Rates | None
    adapted: Rates | None
    stopped: Thief | None


def detected(study: Study) -> list[Detected]:
    """Every detector behind every defence; nothing where no detector was asked."""
    nodes, stolen = study.nodes, study.stolen
    looked = {n.parents["asked"]: n for n in nodes.values() if n.stage == "detection"}
    budget = stolen[0].queries if stolen else None
    services = defences(nodes)
    places: dict[Place, list[Record]] = {}
    for r in stolen:
        if r.asked in looked and looked[r.asked].finished:
            place = r.dataset, r.kind, services[r.asked]
            places.setdefault(place, []).append(r)
    out = []
    for place, thefts in places.items():
        large = [r for r in thefts if r.queries == budget]
        naive = {r.asked: looked[r.asked or ""] for r in large if not knows(nodes, r)}
        # Who cleans what another one asked is seen as that one is.
        others = [r for r in large if knows(nodes, r) and r.asked not in naive]
        adapted = {r.asked: looked[r.asked or ""] for r in others}
        plain = [r for r in thefts if not knows(nodes, r)]
        for name, streams in _names([*naive.values(), *adapted.values()]).items():
            seen = _thief(naive.values(), name)
            until = (seen and seen.median) or 0
            small = [r for r in plain if (r.queries or 0) <= until]
            out.append(
                Detected(
                    *(*place, name, streams),
                    _honest([*naive.values(), *adapted.values()], name),
                    *(seen, _thief(adapted.values(), name)),
                    best(study, small),
                )
            )
    return out


def _names(found: Iterable[Node]) -> dict[str, int]:
    """Detectors -> honest streams that set their threshold."""
    return {
        name: said["streams"]
        for node in found
        for name, said in node.meta["detectors"].items()
    }


def _honest(found: Iterable[Node], name: str) -> dict[str, Rates]:
    """Kind of user -> their alarms. Thefts from one service have the same users."""
    kinds: dict[str, list[Verdict]] = {}
    for node in {node.parents["honest0"]: node for node in found}.values():
        for kind, own in (
            node.meta["detectors"].get(name, {"honest": {}})["honest"].items()
        ):
            kinds.setdefault(kind, []).extend(Verdict(**verdict) for verdict in own)
    return {kind: summarise(own) for kind, own in kinds.items() if own}


def _thief(found: Iterable[Node], name: str) -> Rates | None:
    told = [node.meta["detectors"].get(name, {"thief": ()}) for node in found]
    own = [Verdict(**verdict) for one in told for verdict in one["thief"]]
    return summarise(own) if own else None


def in_json(found: list[Detected]) -> list[dict[str, Any]]:
    """What results.json holds of them."""
    return [
        d._asdict()
        | {"honest": {kind: rates._asdict() for kind, rates in d.honest.items()}}
        | {
            "naive": d.naive and d.naive._asdict(),
            "adapted": d.adapted and d.adapted._asdict(),
            "stopped": thief_in_json(d.stopped),
        }
        for d in found
    ]
