"""What each defence costs honest users, and what a thief gets who knows it."""

from typing import Any, NamedTuple

from sslx.report.defended.honest import defences
from sslx.report.records import Record
from sslx.runs.lineage import Node

CLEAN = "linear_clean"  # what an honest user would have without the defence


class Use(NamedTuple):
    """One kind and size of honest users.

    Attributes:
        user: The kind.
        images: That each sends.
        users: Different runs of them, a seed each.
        clean: Their accuracy on the victim's own answers, the mean.
        defended: On what they are given.
    """

    user: str
    images: int
    users: int
    clean: float
    defended: float

    @property
    def loss(self) -> float:
        """What the defence costs them, a difference of shares."""
        return self.clean - self.defended


class Thief(NamedTuple):
    """The best of some thefts, by the mean of the primary accuracy over its seeds.

    Attributes:
        theft: Its label.
        runs: Seeds.
        accuracy: The mean.
        agreement: Of the probes of copy and victim, the mean; None if not compared.
        noted: What the defence noted about his answers (noise, hashes): means.
    """

    theft: str
    runs: int
    accuracy: float
    agreement: float | None
    noted: dict[str, float]


class Defended(NamedTuple):
    """One defence at one strength.

    Attributes:
        dataset: What is judged on.
        kind: The victim's.
        defence: In words; "none" without.
        queries: The thefts' budget, all they sent.
        uses: Of honest users, those with the greatest loss first.
        naive: The best theft that takes the answers as they are; None without one.
        adapted: The best of those that know of defences.
        seconds: Per answer to honest users, victim and ledger included.
        noted: What the defence noted about their answers: means.
    """

    dataset: str
    kind: str
    defence: str
    queries: int | None
    uses: list[Use]
    naive: Thief | None
    adapted: Thief | None
    seconds: float | None
    noted: dict[str, float]

    @property
    def loss(self) -> float | None:
        """What it costs honest users, the mean over kinds and sizes."""
        return sum(u.loss for u in self.uses) / len(self.uses) if self.uses else None

    @property
    def thief(self) -> Thief | None:
        """The better of both."""
        both = [thief for thief in (self.naive, self.adapted) if thief]
        return max(both, key=lambda thief: thief.accuracy, default=None)


def frontier(
    records: list[Record], nodes: dict[str, Node], primary: str
) -> list[Defended]:
    """Every defence of a report, "none" first; nothing where there is but one.

    Thefts are compared at the headline's budget, the first theft's, whatever they do
    with it: all queries are paid.
    """
    stolen = [r for r in records if r.role == "stolen" and primary in r.scores]
    honest = [r for r in records if r.role == "honest"]
    budget = stolen[0].queries if stolen else None
    stolen = [r for r in stolen if r.queries == budget]
    services = defences(nodes)
    names = {r.run: services[r.asked or ""] for r in [*stolen, *honest]}
    groups = dict.fromkeys((r.dataset, r.kind, names[r.run]) for r in stolen + honest)
    out = []
    for dataset, kind, name in groups:

        def own(found: list[Record], place=(dataset, kind, name)) -> list[Record]:
            return [r for r in found if (*r[:2], names[r.run]) == place]

        thefts = own(stolen)
        adapted = [r for r in thefts if knows(nodes, r)]
        naive = [r for r in thefts if not knows(nodes, r)]
        seconds = [nodes[r.run].meta["seconds_per_answer"] for r in own(honest)]
        out.append(
            Defended(
                *(dataset, kind, name, budget),
                uses=sorted(_uses(own(honest)), key=lambda use: -use.loss),
                naive=best(nodes, naive, primary),
                adapted=best(nodes, adapted, primary),
                seconds=sum(seconds) / len(seconds) if seconds else None,
                noted=_noted(nodes, own(honest)),
            )
        )
    several = len({d.defence for d in out}) > 1
    order = sorted(out, key=lambda d: d.defence != "none")
    return order if several or honest else []


def knows(nodes: dict[str, Node], r: Record) -> bool:
    """Whether a theft does anything about a defence."""
    asked = nodes[r.asked or ""].recipe
    return (
        "clean" in nodes[r.run].recipe
        or asked.get("plan") == "narrow"
        or asked.get("accounts", 1) > 1
    )


def _uses(records: list[Record]) -> list[Use]:
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        groups.setdefault((r.theft, r.queries), []).append(r)
    return [
        Use(user, images, len(own), _mean(own, CLEAN), _mean(own, "linear"))
        for (user, images), own in groups.items()
    ]


def best(nodes: dict[str, Node], records: list[Record], primary: str) -> Thief | None:
    """The theft with the greatest mean of the primary accuracy over its seeds."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(r.theft or "", []).append(r)
    found = []
    for theft, own in groups.items():
        agreed = [r.fidelity.get("agreement") for r in own]
        known = [a for a in agreed if a is not None]
        agreement = sum(known) / len(known) if len(known) == len(own) else None
        noted = _noted(nodes, own)
        found.append(Thief(theft, len(own), _mean(own, primary), agreement, noted))
    return max(found, key=lambda thief: thief.accuracy, default=None)


def _noted(nodes: dict[str, Node], records: list[Record]) -> dict[str, float]:
    """Name of a note -> its mean over the runs whose answers have it."""
    values: dict[str, list[float]] = {}
    for r in records:
        for name, value in nodes[r.asked or ""].meta.get("noted", {}).items():
            values.setdefault(name, []).append(value)
    return {name: sum(own) / len(own) for name, own in values.items()}


def _mean(records: list[Record], evaluator: str) -> float:
    return sum(r.scores[evaluator].accuracy for r in records) / len(records)


def in_json(found: list[Defended]) -> list[dict[str, Any]]:
    """What results.json holds of them."""
    return [
        d._asdict()
        | {"uses": [use._asdict() | {"loss": use.loss} for use in d.uses]}
        | {"naive": d.naive and d.naive._asdict()}
        | {"adapted": d.adapted and d.adapted._asdict()}
        | {"loss": d.loss}
        for d in found
    ]
