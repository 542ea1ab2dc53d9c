"""What a report says in sentences: title, headline, how to read the figures."""

from typing import Any, NamedTuple

from sslx.report.aggregate import Difference, Figure, Row
from sslx.report.labels import short
from sslx.report.records import THEFTS, Member, Record
from sslx.report.tables import percent
from sslx.runs.lineage import Node

FIDELITY = (
    "On test images, without labels. 1 is the victim itself, but for L2, where that is "
    "0 and 1 is no better than its mean answer; a map is fitted on one part of the "
    "images and judged on the rest. What a theft has won is what stands above the "
    "encoders that nobody stole."
)
FLOPS = (
    "FLOPs are estimated: three times the forward passes of the encoder over all "
    "images seen, as XLA counts one pass; heads, losses and augmentation are left out, "
    "and so is what the victim computes to answer."
)
BILLS = (
    "What the service counted; thefts that ask the same share one bill. One query is "
    "one image sent; values are the numbers in the answers."
)
DIFFERENCES = (
    "Differences of accuracy in points, between thefts of one budget (and those that "
    "ask nothing) on the same victims and stealer seeds, with t intervals; p of the "
    "paired t test, two-sided, and corrected by Holm over all comparisons on the data "
    "set."
)
UNKNOWN = {
    True: "What the victim was trained on is not known here: it may have seen the "
    "attacker's images, and those of the probes.",
    False: "What the victim was trained on is not known here: it may have seen images "
    "of the probes.",
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


def _victim(r: dict[str, Any]) -> str:
    """How a victim came to be."""
    if "objective" in r:
        return (
            f"a {r['encoder']['name']} encoder, trained with {r['objective']} for "
            f"{r['steps']:,} steps of {r['batch_size']} images"
        )
    if r.get("origin") == "weights":
        return f"a {r['encoder']['name']} encoder, made of PyTorch weights"
    answers = f"{r.get('dim', 0)} numbers an image"
    if r.get("origin") == "npz":
        return (
            f"an API whose answers to {r['images']:,} images were recorded ({answers})"
        )
    return f"the function {r.get('function')} ({answers})"


def headline(report: Report) -> list[str]:
    """What came of the first member's theft, or of its victim, a sentence each."""
    rows, first = report.rows, report.headline
    kind, cell = (first.kind, first.cell) if first else (rows[0].kind, None)
    out = []
    for name in dict.fromkeys(row.dataset for row in rows if row.kind == kind):
        own = [row for row in rows if (row.dataset, row.kind) == (name, kind)]
        out += _found(own, cell, report.primary)
    return out


def how(report: Report) -> list[str]:
    """Who was asked, and how the headline's stealer was made, a sentence each."""
    victims, kinds = report.victims, {row.kind: None for row in report.rows}
    out = []
    if victims:
        who = _victim(victims[0].recipe) if len(kinds) < 2 else "; ".join(kinds)
        n = len(victims)
        whose = f"Victim: {who}" if n == 1 else f"{n} victims: {who}"
        end = "served as a black box" if report.steals else "evaluated alone"
        out.append(f"{whose}; {end}.")
    if report.headline:
        out.append(_theft(report.headline, report.nodes))
    return out


def _theft(first: Record, nodes: dict[str, Node]) -> str:
    """How the headline stealer was made."""
    r = nodes[first.run].recipe
    whose = f"{r['steps']:,} steps ({first.theft})"
    if not first.asked:
        return (
            f"The headline asks it nothing: it is a {r['encoder']['name']} that "
            f"trained by itself on the attacker's images for {whose}, what every theft "
            "has to beat."
        )
    asked = nodes[first.asked]
    total = asked.meta.get("queries") or {}
    sent = f"{first.queries or 0:,} images"
    if {"unique_images", "limit"} <= set(total):
        n = len(first.accounts)
        sent += (
            f" ({total['unique_images']:,} different ones, from {_pool(asked.recipe)}) "
            f"of the {total['limit']:,} that "
            f"{'the account' if n == 1 else f'{n} accounts'} allowed"
        )
    return (
        f"An attacker who saw nothing but its answers sent it {sent}, for "
        f"{first.usd or 0:.6g} USD, and trained a {r['encoder']['name']} on the "
        f"answers for {whose}."
    )


def _pool(r: dict[str, Any]) -> str:
    """Where the attacker's images are from, in words, by the recipe of the answers."""
    name = next(iter(r.get("pool") or {"a pool": {}}))
    if name == "answered":
        return "the recording"
    if r.get("held_out"):
        return f"the held-out part of {name}"
    return f"the {r.get('split')} split of {name}"


def _found(rows: list[Row], cell: str | None, primary: str) -> list[str]:
    """What the probes say on a data set."""
    figures = [(row, row.figures[primary]) for row in rows if primary in row.figures]
    by = {row.role: figure for row, figure in reversed(figures)}
    stolen = next((pair for pair in figures if pair[0].cell == cell), None)
    row, figure = stolen if cell and stolen else (None, by.get("victim"))
    if figure is None:
        return []
    who = "the stolen encoder" if cell else "the victim"
    if row and row.role == "alone":
        who = "it"
    mean = f" (mean of {row.runs} runs)" if row and row.runs > 1 else ""
    text = (
        f"On {short(rows[0].dataset)}, a linear probe on {who} is right for "
        f"{_share(figure)} of {figure.n_test:,} test images{mean}"
    )
    if row and "victim" in by:
        text += f", on the victim for {_share(by['victim'])}"
    if row and row.of_victim:
        text += f": the copy reaches {100 * row.of_victim.mean:.1f} % of its victim"
    out = [f"{text}."]
    others = [
        f"{word} {100 * by[role].mean:.1f} %"
        for role, word in (
            ("alone", "a stealer that asked nobody"),
            ("independent", "an independent encoder"),
            ("untrained", "an untrained network"),
            ("pixels", "the pixels alone"),
        )
        if role in by and not (row and row.role == role)
    ]
    if others:
        listed = ", ".join(others)
        out.append(f"{listed[0].upper()}{listed[1:]}.")
    thefts = sorted(
        ((f.mean, r) for r, f in figures if r.role == "stolen"), key=lambda p: p[0]
    )
    if len(thefts) > 1:
        (low, worst), *_, (high, best) = thefts
        out.append(
            f"Over all {len(thefts)} thefts it lies between {100 * low:.1f} % "
            f"({worst.cell}) and {100 * high:.1f} % ({best.cell})."
        )
    return out


def _share(figure: Figure) -> str:
    mean, _, interval = percent(figure).partition(" ")
    return f"{mean} % {interval}".strip()


def levels(report: Report) -> str:
    """What the encoders are that nobody stole, of those that are here."""
    there = {row.role for row in report.rows}
    whose = (
        "the victim's architecture"
        if any("encoder" in node.recipe for node in report.victims)
        else "the headline stealer's architecture (the victim's is not known)"
    )
    told = {
        "alone": "alone is a stealer that asked nobody",
        "independent": "independent is another encoder made as the victim was",
        "untrained": f"untrained is {whose} before any training",
        "pixels": "pixels is no encoder at all",
    }
    words = [text for role, text in told.items() if role in there]
    listed = "; ".join(words)
    return f"{listed[:1].upper()}{listed[1:]}." if words else ""


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
    if any("objective" not in node.recipe for node in report.victims):
        out.append(UNKNOWN[report.steals])
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
