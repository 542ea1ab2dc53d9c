"""The report as text: the result table and report.md."""

from sslx.stages.experiment import Experiment


def _percent(row: dict) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def label(cell: dict) -> str:
    """What tells a cell of the sweep from the others, but for its budget."""
    own = [
        pair
        for pair in cell["change"].split()
        if pair.partition("=")[0] not in ("loss", "queries", "attack")
    ]
    return " ".join([cell["loss"], *own])


def short(dataset: str) -> str:
    """A data set's name without the folders of its file."""
    kind, colon, rest = dataset.partition(":")
    return kind + colon + rest.rpartition("/")[2]


def _cells(found: dict) -> list[tuple[str, str, str]]:
    """(encoder, loss, queries) of each line of the table, headline first."""
    lines = [("victim", "", "")]
    lines += [("stolen", label(c), str(c["budget"])) for c in found["sweep"]]
    return [*lines, ("random", "", ""), ("pixels", "", "")]


def table(found: dict) -> list[list[str]]:
    """The result table: a header, then a line for each encoder and data set.

    Accuracies are per cent on the test images, with their interval; the last column is
    the linear accuracy as a share of the victim's.
    """
    head = ["data set", "encoder", "loss", "queries", "linear", "kNN", "of victim"]
    lines = [head]
    datasets = list(dict.fromkeys(r["dataset"] for r in found["accuracies"]))
    for dataset in datasets:
        cells = iter(found["sweep"])
        victim = None
        for encoder, loss, queries in _cells(found):
            rows = (
                next(cells)["accuracies"]
                if encoder == "stolen"
                else [r for r in found["accuracies"] if r["encoder"] == encoder]
            )
            by = {r["evaluator"]: r for r in rows if r["dataset"] == dataset}
            victim = victim or by["linear"]["accuracy"]
            share = f"{100 * by['linear']['accuracy'] / victim:.1f} %" if victim else ""
            lines.append(
                [dataset, encoder, loss, queries]
                + [_percent(by["linear"]), _percent(by["knn"]), share]
            )
    return lines


def plain(lines: list[list[str]]) -> str:
    """The table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _pipes(lines: list[list[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def bill_table(found: dict) -> list[list[str]]:
    """What each cell has asked, as counted: a header, then a line for each cell."""
    return [["attack", "loss", *(found["queries"] or ())]] + [
        [c["attack"], label(c), *map(str, c["queries"].values())]
        for c in found["sweep"]
    ]


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


def title(experiment: Experiment) -> str:
    """The heading of a report."""
    victim = f"{experiment.victim.recipe['objective']} encoder"
    if not experiment.cells:
        return f"Evaluation of a {victim}"
    return f"{experiment.cells[0].attack.capitalize()} extraction of a {victim}"


def markdown(experiment: Experiment, found: dict, pictures: dict[str, str]) -> str:
    """report.md; ``pictures`` maps a title to the file beside the report."""
    victim = experiment.victim.recipe
    tests = {r["dataset"]: r["n_test"] for r in found["accuracies"]}
    lead = (
        f"Victim: {victim['objective']}, {victim['encoder']['name']}, "
        f"{victim['steps']} steps of {victim['batch_size']} images."
    )
    if queries := found["queries"]:
        lead += (
            f" Stolen with {queries['images']} queries of a limit of "
            f"{queries['limit']} ({queries['unique_images']} different images, pool "
            f"`{found['sweep'][0]['pool']}`)."
        )
    bill = (
        "## Bill\n\nCells that ask the same share one bill.\n\n"
        + _pipes(bill_table(found)),
    )
    parts = [
        f"# {title(experiment)}",
        lead,
        "Accuracies in per cent on "
        + ", ".join(f"{n} test images of {name}" for name, n in tests.items())
        + f", with Wilson intervals at {experiment.report.recipe['confidence']:.0%} "
        f"(one run, seed {experiment.report.recipe['seed']}: the interval covers the "
        "choice of test images, not that of seeds). `random`: the victim's "
        "architecture untrained; `pixels`: no encoder.",
        _pipes(table(found)),
        *(f"Note: {who} on {name}: {why}." for who, name, why in doubts(found)),
        *(
            f"Note: {name} was not at hand and is left out."
            for name in found["skipped"]
        ),
        *(f"## {name}\n\n![{name}]({file})" for name, file in pictures.items()),
        *(bill if found["sweep"] else ()),
        "## Runs\n\n"
        + "\n".join(
            f"- {role}: `{run.stage}/{run.name}`"
            for role, run in experiment.report.parents.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"
