"""Which settings a thief would have chosen, by what he held back of his own images.

The choice looks at what the stealers' runs say and at no probe (docs/choosing.md).
"""

from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

from sslx.queries.held_back import AGREEMENT
from sslx.report import labels
from sslx.report.collect import common
from sslx.report.records import SEEDS, Member, Record, times_of
from sslx.report.tables import Lines, number
from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint

GREATEST = (AGREEMENT,)  # of the measures, those of which more is better


class Setting(NamedTuple):
    """One way to train a theft; of several seeds one setting.

    Attributes:
        changes: Keys of the config -> values, without seeds; {} where unknown.
        settings: All of its recipes.
        runs: Keys of the stealers' runs.
        seeds: Of them.
        value: Of the measure, the mean over the runs; None where one has none.
        images: That judged a run, at the least.
    """

    changes: dict[str, Any]
    settings: labels.Settings
    runs: list[str]
    seeds: list[int]
    value: float | None
    images: int


class Choice(NamedTuple):
    """The settings of one theft that can be compared.

    Attributes:
        cell: The theft with its budget, or images and passes of what asks nothing.
        attack: Its name.
        loss: Its name.
        queries: Images sent.
        measure: What they are compared by.
        compared: In the order of the members.
        best: The one that is chosen; None where none has a value.
        apart: Keys of the runs that are not compared: of what asks nothing, those that
            took other passes, and no whole number of times as many.
    """

    cell: str
    attack: str
    loss: str
    queries: int | None
    measure: str
    compared: list[Setting]
    best: Setting | None
    apart: list[str]


def choices(nodes: dict[str, Node], members: list[Member]) -> list[Choice]:
    """What is chosen for each theft of which several settings were held against it.

    Settings are compared where attack, loss, budget, victim and measure are alike, and
    for what asks nothing images, passes (but for half a step) and what its loss is
    measured at. Of those with all seeds the one with the least distance or loss is
    chosen, or with the greatest agreement.
    """
    groups: dict[tuple, list[tuple[Member, Node, labels.Settings]]] = {}
    victims = dict.fromkeys(m.victim for m in members if m.victim)
    kinds = labels.kinds([nodes[key] for key in victims])
    for member in members:
        node = nodes.get(member.theft or "")
        if node is None or "held_back" not in node.meta:
            continue
        kind = kinds.get(member.victim or "", "")
        *which, settings = labels.told(nodes, kind, node.key)
        how = fingerprint(node.recipe["held_back"]), node.meta["held_back"]["measure"]
        own = *which, *how
        key = next((key for key in groups if _alike(key, own)), own)
        groups.setdefault(key, []).append((member, node, settings))
    several = len(set(kinds.values())) > 1
    out = []
    for key, found in groups.items():
        attack, loss, work, kind, _, measure = key
        compared = list(_settings(found))
        if len(compared) < 2:
            continue
        name = ["alone", attack] if len(work) > 1 else labels.named(attack, loss)
        cell = labels.cell(" ".join(name), work, kind if several else "")
        best = _best(compared, measure)
        apart = [
            node.key
            for other, lone in groups.items()
            if len(lone) < len(found) and _alike(key, other, passes=False)
            for _, node, _ in lone
        ]
        told = attack, loss, work[0], measure, compared, best, apart
        out.append(Choice(cell, *told))
    return out


def _alike(a: tuple, b: tuple, passes: bool = True) -> bool:
    """Whether two groups are one, or with ``passes=False`` would be but for these."""
    (*own, more), (*others, less) = a[2], b[2]
    if not own or not more or not less:  # who asks goes by his queries
        return passes and a == b
    if (*a[:2], own, *a[3:]) != (*b[:2], others, *b[3:]):
        return False
    times = times_of(max(more, less), min(more, less))
    return times == 1 if passes else times is None


def _settings(found: list[tuple[Member, Node, labels.Settings]]) -> Iterator[Setting]:
    """Of the runs of a theft, those that differ in the seed together."""
    alike: dict[tuple, list[tuple[Member, Node, labels.Settings]]] = {}
    for one in found:
        alike.setdefault(tuple(sorted(one[2].items())), []).append(one)
    for several in alike.values():
        changes = common([m.changes for m, _, _ in several])
        runs = {node.key: node for _, node, _ in several}
        told = [node.meta["held_back"] for node in runs.values()]
        values = [one["value"] for one in told]
        yield Setting(
            changes={k: v for k, v in changes.items() if k not in SEEDS},
            settings=several[0][2],
            runs=list(runs),
            seeds=sorted(node.recipe["seed"] for node in runs.values()),
            value=None if None in values else fmean(values),
            images=min(one["images"] for one in told),
        )


def _best(compared: list[Setting], measure: str) -> Setting | None:
    most = max((s.seeds for s in compared), key=len)
    known = [(s.value, s) for s in compared if s.value is not None and s.seeds == most]
    best = max if measure in GREATEST else min
    return best(known, key=lambda pair: pair[0])[1] if known else None


def in_json(found: list[Choice]) -> list[dict[str, Any]]:
    """What results.json holds of them: the grid, and ``best``, what was chosen."""
    return [
        choice._asdict()
        | {"compared": [s._asdict() for s in choice.compared]}
        | {"best": choice.best and choice.best._asdict()}
        for choice in found
    ]


def table(found: list[Choice], records: list[Record], primary: str) -> Lines:
    """A line for each setting, with what test images say of it beside."""
    scores: dict[tuple[str, str], float] = {
        (r.run, r.dataset): r.scores[primary].accuracy
        for r in records
        if primary in r.scores
    }
    sets = list(dict.fromkeys(dataset for _, dataset in scores))
    probe = labels.evaluator(primary)
    heads = [probe if len(sets) == 1 else f"{probe}, {name}" for name in sets]
    out = [["theft", "setting", "measure", "value", "images", "chosen", *heads]]
    for choice in found:
        keys = labels.telling([s.settings for s in choice.compared])
        for s in choice.compared:
            told = [[scores.get((run, name)) for run in s.runs] for name in sets]
            out.append(
                [
                    *(choice.cell, " ".join(labels.words(s.settings, keys))),
                    *(choice.measure, number(s.value), str(s.images)),
                    "chosen" if s is choice.best else "",
                    *(number(_mean(each), ".1%").rstrip("%") for each in told),
                ]
            )
    return out


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known and len(known) == len(values) else None
