"""report.md."""

from sslx.experiment.experiment import Experiment
from sslx.report.likeness import FIDELITY, fidelity_table
from sslx.report.report_text import bill_table, doubts, pipes, table, told


def markdown(experiment: Experiment, found: dict, pictures: dict[str, str]) -> str:
    """report.md; ``pictures`` maps a title to the file beside the report."""
    victim = told(experiment)
    tests = {
        r["dataset"]: r["n_test"]
        for r in found["accuracies"]
        if r["evaluator"] == "linear"
    }
    lead = f"Victim: {victim.lead}."
    if queries := found["queries"]:
        lead += (
            f" Stolen with {queries['images']} queries of a limit of "
            f"{queries['limit']} ({queries['unique_images']} different images, pool "
            f"`{found['sweep'][0]['pool']}`; {queries['cost']:.6g} USD)."
        )
    bill = (
        "## Bill\n\nCells that ask the same share one bill.\n\n"
        + pipes(bill_table(found)),
    )
    likeness = (
        "## Likeness to the victim\n\n"
        + FIDELITY
        + "\n\n"
        + pipes(fidelity_table(found)),
    )
    random = f"`random`: {victim.untrained}, untrained; " if victim.untrained else ""
    parts = [
        f"# {victim.title}",
        lead,
        "Accuracies in per cent on "
        + ", ".join(f"{n} test images of {name}" for name, n in tests.items())
        + f", with Wilson intervals at {experiment.report.recipe['confidence']:.0%} "
        f"(one run, seed {experiment.report.recipe['seed']}: the interval covers the "
        f"choice of test images, not that of seeds). {random}`pixels`: no encoder.",
        pipes(table(found)),
        *(f"Note: {note}" for note in victim.notes),
        *(f"Note: {who} on {name}: {why}." for who, name, why in doubts(found)),
        *(
            f"Note: {name} was not at hand and is left out."
            for name in found["skipped"]
        ),
        *(likeness if found["fidelity"] else ()),
        *(f"## {name}\n\n![{name}]({file})" for name, file in pictures.items()),
        *(bill if found["sweep"] else ()),
        "## Runs\n\n"
        + "\n".join(
            f"- {role}: `{run.stage}/{run.name}`"
            for role, run in experiment.report.parents.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"
