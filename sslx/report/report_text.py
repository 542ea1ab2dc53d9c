"""The report in words: who is who, the tables of results and of bills."""

from typing import NamedTuple

from sslx.experiment.experiment import Experiment


class Told(NamedTuple):
    """A victim in words.

    Attributes:
        title: What is done to it, a heading.
        lead: How it came to be, in a sentence's place for its subject.
        untrained: Whose architecture the row "random" is of; "" without such a row.
        notes: What must be known of it, a sentence each.
    """

    title: str
    lead: str
    untrained: str
    notes: list[str]


def told(experiment: Experiment) -> Told:
    """The victim in words."""
    r, cells = experiment.victim.recipe, experiment.cells
    done = "Evaluation"
    if cells:
        done = f"{cells[0].attack.replace('_', ' ').capitalize()} extraction"
    if "objective" in r:
        return Told(
            f"{done} of a {r['objective']} encoder",
            f"A {r['encoder']['name']} encoder, trained with {r['objective']} for "
            f"{r['steps']:,} steps of {r['batch_size']} images",
            "the victim's architecture",
            [],
        )
    whose = "the attacker's images, and those" if cells else "images"
    unknown = (
        f"What the victim was trained on is not known here: it may have seen {whose} "
        "of the probes."
    )
    if r["origin"] == "weights":
        lead = f"A {r['encoder']['name']} encoder, made of PyTorch weights"
        title = f"{done} of an imported encoder"
        return Told(title, lead, "the victim's architecture", [unknown])
    left_out = [
        f"The victim is not probed on {short(name)}: {n} of its images were not asked "
        "of it."
        for name, n in experiment.unanswered.items()
    ]
    answers = f"{r['dim']} numbers an image"
    lead = (
        f"An API whose answers to {r['images']:,} images were recorded ({answers})"
        if r["origin"] == "npz"
        else f"The function {r['function']} ({answers})"
    )
    untrained = "the headline stealer's architecture (the victim's is not known)"
    return Told(
        f"{done} of an encoder API",
        lead,
        untrained if cells else "",
        [unknown, *left_out],
    )


def _percent(row: dict) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def labels(sweep: list[dict]) -> list[str]:
    """What tells the cells of a sweep apart, but for their budgets.

    Attack and loss, and of a cell's other settings those that not all cells of that
    attack and loss have, without the blocks they lie in.
    """
    kinds = [(c["attack"], c["loss"]) for c in sweep]
    settings = [
        [
            pair
            for pair in c["change"].split()
            if pair.partition("=")[0] not in ("loss", "queries", "attack")
        ]
        for c in sweep
    ]
    out = []
    for kind, own in zip(kinds, settings, strict=True):
        alike = [s for k, s in zip(kinds, settings, strict=True) if k == kind]
        told = [
            _short_key(pair)
            for pair in own
            if not all(pair in other for other in alike)
        ]
        attack, loss = kind
        # "direct" goes without saying, and so does a loss that the attack brings.
        words = [attack] * (attack != "direct") + [loss] * (loss != "own")
        out.append(" ".join([*words, *told]))
    return out


def _short_key(pair: str) -> str:
    """KEY=VALUE without the blocks that the key lies in."""
    key, equals, value = pair.partition("=")
    return key.rpartition(".")[2] + equals + value


def short(dataset: str) -> str:
    """A data set's name without the folders of its file."""
    kind, colon, rest = dataset.partition(":")
    return kind + colon + rest.rpartition("/")[2]


def who(row: dict) -> str:
    """An encoder in words; those that nobody stole go by their seeds."""
    more = f", seed {row['seed']}" if row["encoder"] == "independent" else ""
    return row["encoder"] + more


def evaluator(name: str) -> str:
    """A probe in words."""
    kind, _, share = name.partition("_")
    if kind == "linear" and share.replace(".", "").isdigit():
        return f"{100 * float(share):g} % of labels"
    return {"knn": "kNN", "reference_probe": "reference probe"}.get(name, name)


def table(found: dict) -> list[list[str]]:
    """The result table: a header, then a line for each encoder and data set.

    Accuracies are per cent on the test images, with their interval; the last column is
    the linear accuracy as a share of the victim's.
    """
    names = dict.fromkeys(r["evaluator"] for r in found["accuracies"])
    names = dict.fromkeys(("linear", "knn", *names))
    head = ["data set", "encoder", "theft", "queries", *map(evaluator, names)]
    lines = [[*head, "of victim"]]
    datasets = list(dict.fromkeys(r["dataset"] for r in found["accuracies"]))
    for dataset in datasets:
        victim = None
        for name, theft, queries, rows in _cells(found):
            by = {r["evaluator"]: r for r in rows if r["dataset"] == dataset}
            if not by:  # a victim that cannot be asked for all these images
                continue
            if name == "victim":
                victim = by["linear"]["accuracy"]
            share = f"{100 * by['linear']['accuracy'] / victim:.1f} %" if victim else ""
            each = [_percent(by[e]) if e in by else "" for e in names]
            lines.append([dataset, name, theft, queries, *each, share])
    return lines


def _cells(found: dict) -> list[tuple[str, str, str, list[dict]]]:
    """(encoder, theft, queries, accuracies) of each line, headline first."""
    others: dict[str, list[dict]] = {}
    for row in found["accuracies"]:
        others.setdefault(who(row), []).append(row)
    others.pop("stolen", None)
    victim = others.pop("victim", [])
    stolen = [
        ("stolen", name, str(c["budget"]), c["accuracies"])
        for c, name in zip(found["sweep"], labels(found["sweep"]), strict=True)
    ]
    rest = [(name, "", "", rows) for name, rows in others.items()]
    return [("victim", "", "", victim), *stolen, *rest]


def plain(lines: list[list[str]]) -> str:
    """The table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def pipes(lines: list[list[str]]) -> str:
    """The table for Markdown."""
    rule = ["---"] * len(lines[0])
    safe = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [safe[0], rule, *safe[1:]])


def bill_table(found: dict) -> list[list[str]]:
    """What each cell has asked, as counted: a header, then a line for each account."""
    sweep = found["sweep"]
    counters: dict = next((c["queries"] for c in sweep if c["queries"]), {})
    lines = [["theft", "account", *counters]]
    for cell, name in zip(sweep, labels(sweep), strict=True):
        for account, counted in cell["accounts"].items():
            lines.append([name, account, *map(_counter, counted.values())])
    return lines


def _counter(value: int | float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def doubts(found: dict) -> list[tuple[str, str, str]]:
    """What a reader of the figures must know of them: (encoder, data set, why)."""
    return sorted(
        {
            (r["encoder"], r["dataset"], why)
            for r in found["accuracies"]
            + [row for c in found["sweep"] for row in c["accuracies"]]
            for key, bad, why in (
                ("converged", False, "the linear probe stopped short of its tolerance"),
                ("l2_at_edge", True, "the chosen L2 strength is an end of the grid"),
            )
            if r.get(key) is bad
        }
    )
