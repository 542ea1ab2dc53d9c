"""What a report is on, and what must be known of it; its prose is in templates/."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sslx.report.aggregate import Row, baselines
from sslx.report.chosen import Choice
from sslx.report.compare import Difference, Nearness
from sslx.report.defended.detected import Detected
from sslx.report.defended.frontier import Defended
from sslx.report.labels import evaluator, short
from sslx.report.records import THEFTS, Member, Record, flaws
from sslx.runs.lineage import Node
from sslx.types import printable

FLAWS = {  # of how a probe was solved
    "stopped short": "stopped short of the tolerance",
    "grid's end": "chose an end of the grid of strengths",
    "no choice": "had nothing to choose a strength by, and took the strongest",
}


class Report(NamedTuple):
    """All that a report is on.

    Attributes:
        nodes: The runs that belong, by key.
        members: Whom it judges against whom, the headline first.
        primary: The evaluator of headline, ratios and comparisons.
        records: Every encoder by itself.
        rows: Over seeds.
        compared: Thefts against each other.
        near: Copies against encoders that nobody stole.
        published: Figures of others, with ours.
        choices: Settings that were chosen by what was held back.
        frontier: Defences, honest users and thieves.
        detected: Who of them raises an alarm.
    """

    nodes: dict[str, Node]
    members: list[Member]
    primary: str
    records: list[Record]
    rows: list[Row]
    compared: list[Difference]
    near: list[Nearness]
    published: list[dict[str, Any]]
    choices: list[Choice]
    frontier: list[Defended]
    detected: list[Detected]

    @property
    def headline(self) -> Record | None:
        """The first member's theft on the first data set; None without a theft."""
        theft = self.members[0].theft
        return next((r for r in self.records if theft and r.run == theft), None)

    @property
    def encoders(self) -> list[Row]:
        """The rows without honest users, whose figures are of their own few images."""
        return [row for row in self.rows if row.role != "honest"]

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
    elif "shipped" in r:
        whom = "encoder that comes with sslx"
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


def senders(report: Report) -> str:
    """The sets whose test images honest users send."""
    honest = [node.meta for node in report.nodes.values() if node.stage == "honest"]
    names = dict.fromkeys(name for meta in honest for name in meta.get("sets", ()))
    return ", ".join(short(name) for name in names)


def _unequal(rows: list[Row]) -> Iterator[str]:
    """Thefts of one place that were trained longer than others, study.passes or not."""
    places: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.role == "stolen" and row.passes:
            places.setdefault((row.dataset, row.kind), []).append(row.passes)
    for (dataset, _), passes in places.items():
        if max(passes) > 1.05 * min(passes):
            yield (
                f"On {short(dataset)} thefts had from {min(passes):,.0f} to "
                f"{max(passes):,.0f} passes: what tells them apart may be their length."
            )


def _left_out(report: Report) -> list[str]:
    """Detectors that could not be asked, a sentence each reason."""
    found = [n.meta for n in report.nodes.values() if n.stage == "detection"]
    told = {pair for meta in found for pair in meta.get("left_out", {}).items()}
    return [f"Detector {name} was not asked: {why}." for name, why in sorted(told)]


def notes(report: Report) -> list[str]:
    """What must be known of the figures, a sentence each."""
    rows = report.rows
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
    out += _solving(report)
    out += [
        f"Not compared with the other settings of {choice.cell}, for other passes: "
        f"{', '.join(choice.apart)}."
        for choice in report.choices
        if choice.apart
    ]
    out += _unequal(rows)
    out += _left_out(report)
    out += _not_better(rows, report.primary)
    if any(f.n == 2 and f.by == "t" for row in rows for f in row.figures.values()):
        out.append(
            "With two seeds an interval is some 13 times as wide as their spread, and "
            "says little."
        )
    return out


def _solving(report: Report) -> Iterator[str]:
    """What must be known of how the probes' strengths were chosen."""
    solved: dict[str, dict[str, list[str]]] = {}  # evaluator -> probe -> flaws
    for r in report.records:
        for name, score in r.scores.items():
            if score.solved:
                solved.setdefault(evaluator(name), {})[r.probe] = flaws(score)
    for flaw, what in FLAWS.items():
        counts = {e: sum(flaw in f for f in own.values()) for e, own in solved.items()}
        told = [f"{n} of {len(solved[e])} ({e})" for e, n in counts.items() if n]
        if told:
            yield f"Probes that {what}: {', '.join(told)}; see Runs."
    served = [n for n in report.nodes.values() if n.meta.get("l2_at_edge")]
    if n := sum(node.stage == "classifier" for node in served):
        yield (
            f"{n} classifier{'s' * (n > 1)} of the service chose an end of "
            "service.classifier.l2_grid."
        )


def _not_better(rows: list[Row], primary: str) -> Iterator[str]:
    """Thefts that an untrained network equals, in each place that has such."""
    for level in baselines(rows, primary):
        bound = level.figures.get(primary)
        if level.role != "untrained" or bound is None:
            continue
        low = [
            row.cell or ""
            for row in rows
            if row[:2] == level[:2] and row.role == "stolen"
            if primary in row.figures and row.figures[primary].mean <= bound.mean
        ]
        if low:
            are = "one theft is" if len(low) == 1 else f"{len(low)} thefts are"
            more = f"; and {len(low) - 3} more" if len(low) > 3 else ""
            yield (
                f"On {short(level.dataset)} {are} no better than the untrained network "
                f"({100 * bound.mean:.1f} %, {evaluator(primary)}): "
                f"{'; '.join(low[:3])}{more}."
            )
