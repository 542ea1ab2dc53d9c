"""What a report is on, and what must be known of it; its prose is in templates/."""

from typing import NamedTuple

from sslx.report.aggregate import Difference, Row
from sslx.report.records import THEFTS, Member, Record
from sslx.runs.lineage import Node
from sslx.types import printable


class Report(NamedTuple):
    """All that a report is on.

    Attributes:
        nodes: The runs that belong, by key.
        members: Whom it judges against whom, the headline first.
        primary: The evaluator of headline, ratios and comparisons.
        records: Every encoder by itself.
        rows: Over seeds.
        compared: Thefts against each other.
    """

    nodes: dict[str, Node]
    members: list[Member]
    primary: str
    records: list[Record]
    rows: list[Row]
    compared: list[Difference]

    @property
    def headline(self) -> Record | None:
        """The first member's theft on the first data set; None without a theft."""
        theft = self.members[0].theft
        return next((r for r in self.records if theft and r.run == theft), None)

    @property
    def steals(self) -> bool:
        """Whether there is a theft at all."""
        return any(m.theft for m in self.members)

    @property
    def victims(self) -> list[Node]:
        """Whom it judges, each once."""
        keys = dict.fromkeys(m.victim for m in self.members if m.victim)
        return [self.nodes[key] for key in keys]


def title(nodes: dict[str, Node], members: list[Member]) -> str:
    """Of a report on one experiment: what is done to whom."""
    first = members[0]
    theft = nodes[first.theft].recipe["attack"] if first.theft else None
    done = f"{theft.replace('_', ' ').capitalize()} extraction" if theft else ""
    r = nodes[first.victim].recipe if first.victim else {}
    if "objective" in r:
        whom = f"{r['objective']} encoder"
    elif r.get("origin") == "weights":
        whom = "imported encoder"
    else:
        whom = "encoder API"
    article = "an" if whom[0] in "aeiou" else "a"
    return f"{done or 'Evaluation'} of {article} {whom}"


def seeds(rows: list[Row]) -> list[str]:
    """What varies within rows of more than one run, a sentence for each way."""
    ways: dict[str, list[str]] = {}
    for row in rows:
        if row.runs > 1 or row.pairs > 1 and row.role in THEFTS:
            ways.setdefault(row.varies, []).append(row.name)
    thefts = {row.theft for row in rows if row.role in THEFTS}
    out = []
    for way, names in ways.items():
        who = list(dict.fromkeys(names))
        word = "all thefts" if set(who) == thefts else ", ".join(who)
        out.append(f"{word}: {way}.")
    return out


def reading(rows: list[Row]) -> str:
    """How the figures and their intervals are to be read."""
    tests = {
        row.dataset: max(f.n_test or 0 for f in row.figures.values()) for row in rows
    }
    by = {f.by for row in rows for f in row.figures.values()}
    level = f"{rows[0].confidence:.0%}".replace("%", " %")
    kinds = {
        "t": "t intervals over the seeds",
        "wilson": "of a single run Wilson's, which covers the choice of test images "
        "and nothing of how seeds vary",
    }
    told = "; ".join(text for kind, text in kinds.items() if kind in by)
    last = any("reference_probe" in row.figures for row in rows)
    more = "; the reference probe's are the last 1,000 of them at most" if last else ""
    images = ", ".join(f"{n:,} test images of {name}" for name, n in tests.items())
    return f"Per cent of {images}{more}. In brackets, at {level}: {told}."


def notes(report: Report) -> list[str]:
    """What must be known of the figures, a sentence each."""
    records, rows = report.records, report.rows
    out = []
    known = ("objective", "shipped")
    if any(not set(known) & node.recipe.keys() for node in report.victims):
        whose = "the attacker's images, and those" if report.steals else "images"
        out.append(
            "What the victim was trained on is not known here: it may have seen "
            f"{whose} of the probes."
        )
    told = [
        node.meta.get("words", {}).get("left_out") for node in report.nodes.values()
    ]
    out += [f"{printable(why)}." for why in dict.fromkeys(told) if why]
    for node in report.victims:
        if node.meta.get("self_check"):
            out.append(
                f"Each start sends {node.recipe['function']} some images more, to name "
                "and check it, in no bill; the victim's run counts them (sslx inspect)."
            )
        elif node.recipe.get("answers", "") is None:
            out.append(
                f"Nothing checked what {node.recipe['function']} answers "
                "(service.self_check=False): it is known by its name alone."
            )
    solved = {
        (r.probe, name): score.solved
        for r in records
        for name, score in r.scores.items()
        if "converged" in score.solved
    }
    for key, bad, what in (
        ("converged", False, "stopped short of the tolerance"),
        ("l2_at_edge", True, "chose an end of the grid of L2 strengths"),
    ):
        n = sum(own.get(key) is bad for own in solved.values())
        if n:
            out.append(f"{n} of {len(solved)} linear probes {what}; see Runs.")
    if any(f.n == 2 and f.by == "t" for row in rows for f in row.figures.values()):
        out.append(
            "With two seeds an interval is some 13 times as wide as their spread, and "
            "says little."
        )
    return out
