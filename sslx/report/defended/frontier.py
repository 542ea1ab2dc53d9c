"""What each defence costs honest users, and what a thief gets who knows it."""

from typing import Any, NamedTuple

from sslx.evals.intervals import t_interval
from sslx.report.aggregate import Figure, Row, baselines
from sslx.report.defended.honest import defences
from sslx.report.records import Record
from sslx.runs.lineage import Node

CLEAN = "linear_clean"  # what an honest user would have without the defence


class Study(NamedTuple):
    """What is looked at."""

    records: list[Record]
    rows: list[Row]
    nodes: dict[str, Node]
    primary: str

    @property
    def stolen(self) -> list[Record]:
        """The thefts that are judged by the primary evaluator, headline first."""
        found = (r for r in self.records if r.role == "stolen")
        return [r for r in found if self.primary in r.scores]


class Use(NamedTuple):
    """One kind and size of honest users.

    Attributes:
        user: The kind.
        images: That each sends.
        runs: Different runs of them, a seed each.
        clean: Their accuracy without the defence, the mean.
        defended: On what they are given.
        loss: What the defence costs them, a difference of shares, over the runs.
    """

    user: str
    images: int
    runs: int
    clean: float
    defended: float
    loss: Figure


class Thief(NamedTuple):
    """The best of some thefts, by the mean of the primary accuracy over its seeds.

    Attributes:
        theft: Its label.
        of: How many different thefts it is the best of.
        accuracy: Over its seeds, as in the table of accuracies.
        agreement: Of the probes of copy and victim, the mean; None if not compared.
        noted: What the defence noted about his answers (noise, hashes): means.
    """

    theft: str
    of: int
    accuracy: Figure
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
        adapted: The best of those that do something about a defence.
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
        means = [use.loss.mean for use in self.uses]
        return sum(means) / len(means) if means else None

    @property
    def thief(self) -> Thief | None:
        """The better of both: who knows a defence may as well do nothing."""
        both = [thief for thief in (self.naive, self.adapted) if thief]
        return max(both, key=lambda thief: thief.accuracy.mean, default=None)


def frontier(study: Study) -> list[Defended]:
    """Every defence of a report, "none" first; nothing without a second or users.

    Thefts are compared at the headline's budget, the first theft's, whatever they do
    with it: all queries are paid.
    """
    nodes, stolen = study.nodes, study.stolen
    honest = [r for r in study.records if r.role == "honest"]
    budget = stolen[0].queries if stolen else None
    stolen = [r for r in stolen if r.queries == budget]
    services = defences(nodes)
    names = {r.run: services[r.asked or ""] for r in [*stolen, *honest]}
    groups = dict.fromkeys((r.dataset, r.kind, names[r.run]) for r in stolen + honest)
    out = []
    for dataset, kind, name in groups:

        def own(found: list[Record], place=(dataset, kind, name)) -> list[Record]:
            return [r for r in found if (*r[:2], names[r.run]) == place]

        thefts, users = own(stolen), own(honest)
        seconds = [nodes[r.run].meta["seconds_per_answer"] for r in users]
        out.append(
            Defended(
                *(dataset, kind, name, budget),
                uses=sorted(_uses(users), key=lambda use: -use.loss.mean),
                naive=best(study, [r for r in thefts if not knows(nodes, r)]),
                adapted=best(study, [r for r in thefts if knows(nodes, r)]),
                seconds=sum(seconds) / len(seconds) if seconds else None,
                noted=_noted(nodes, users),
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


def levels(rows: list[Row], place: tuple[str, str], primary: str) -> dict[str, float]:
    """What thefts lie between: victim, alone on the headline's images, untrained."""
    own = [r for r in rows if (r.dataset, r.kind) == place and primary in r.figures]
    out = {r.role: r.figures[primary].mean for r in own if r.role == "victim"}
    first = next((r for r in own if r.role == "stolen"), None)
    if first and first.gain:
        out["alone"] = first.figures[primary].mean - first.gain.mean
    for row in baselines(own, primary):
        if row.role == "untrained":
            out["untrained"] = row.figures[primary].mean
    return out


def _uses(records: list[Record]) -> list[Use]:
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        groups.setdefault((r.theft, r.queries), []).append(r)
    out = []
    for (user, images), own in groups.items():
        clean, defended = (
            [r.scores[which].accuracy for r in own] for which in (CLEAN, "linear")
        )
        loss = [a - b for a, b in zip(clean, defended, strict=True)]
        n, level = len(own), own[0].confidence
        low, high = t_interval(loss, confidence=level) or (None, None)
        mean = Figure(sum(loss) / n, low, high, "t" if n > 1 else None, n)
        out.append(Use(user, images, n, sum(clean) / n, sum(defended) / n, mean))
    return out


def best(study: Study, records: list[Record]) -> Thief | None:
    """The theft with the greatest primary accuracy, of those with the most runs."""
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        groups.setdefault((*r[:2], r.theft, r.queries), []).append(r)
    rows = {
        (row.dataset, row.kind, row.theft, row.queries): row
        for row in study.rows
        if row.role == "stolen"
    }
    found = []
    for key, own in groups.items():
        figure, agreement = rows[key].figures[study.primary], rows[key].fidelity
        agreed = agreement["agreement"].mean if "agreement" in agreement else None
        noted = _noted(study.nodes, own)
        found.append(Thief(key[2] or "", len(groups), figure, agreed, noted))
    return max(found, key=lambda t: (t.accuracy.n, t.accuracy.mean), default=None)


def _noted(nodes: dict[str, Node], records: list[Record]) -> dict[str, float]:
    """Name of a note -> its mean over the runs whose answers have it."""
    values: dict[str, list[float]] = {}
    for r in records:
        for name, value in nodes[r.asked or ""].meta.get("noted", {}).items():
            values.setdefault(name, []).append(value)
    return {name: sum(own) / len(own) for name, own in values.items()}


def thief_in_json(thief: Thief | None) -> dict[str, Any] | None:
    """A theft as results.json holds it."""
    return thief and thief._asdict() | {"accuracy": thief.accuracy._asdict()}


def in_json(found: list[Defended]) -> list[dict[str, Any]]:
    """What results.json holds of them."""
    return [
        d._asdict()
        | {"uses": [use._asdict() | {"loss": use.loss._asdict()} for use in d.uses]}
        | {"naive": thief_in_json(d.naive), "adapted": thief_in_json(d.adapted)}
        | {"loss": d.loss}
        for d in found
    ]
