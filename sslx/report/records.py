"""What a report is made of: one record for each encoder and data set."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint

# Measures of fidelity, the four that are read first.
MEASURES = {
    "agreement": "agreement of probes",
    "cka": "linear CKA",
    "neighbours": "shared neighbours",
    "linear_l2": "L2, linear map",
    "information": "MI score",
    "cosine": "cosine",
    "cosine_of_mean": "cosine, victim's mean",
    "l2": "L2",
    "linear_cosine": "cosine, linear map",
    "orthogonal_cosine": "cosine, orthogonal map",
    "orthogonal_l2": "L2, orthogonal map",
}
READ = 4  # of the measures
LESS_IS_NEARER = ("linear_l2", "l2", "orthogonal_l2")  # of the measures
SEEDS = ("seed", "steal.seed")
ROLES = (
    *("victim", "stolen", "alone", "honest", "independent", "untrained", "pixels"),
    "majority",
)
NO_SEED = ("pixels", "majority")  # of the roles, what is no encoder
THEFTS = ("stolen", "alone")  # of the roles
OF_THEFT = ("steal.", "service.")  # sections that make no victim
ALIKE = 0.05  # of the passes: batches of other sizes make them up to half a step


class Member(NamedTuple):
    """One combination of a grid.

    Attributes:
        victim: Key of its run; None for nobody.
        theft: Key of the stealer that is judged against it; None for none.
        changes: Keys of the config -> values, what makes this combination.
    """

    victim: str | None
    theft: str | None
    changes: dict[str, Any]


class Score(NamedTuple):
    """What one evaluator says: an accuracy between 0 and 1 on ``n_test`` images.

    Attributes:
        accuracy: The share that is right.
        interval: Wilson's, over the choice of test images.
        n_test: Test images.
        solved: How its strength was chosen: ``l2``, ``converged``, ``l2_at_edge``,
            ``l2_undecided``, where it has such.
    """

    accuracy: float
    interval: tuple[float, float]
    n_test: int
    solved: dict[str, Any]


class Own(NamedTuple):
    """What a stealer has without answers, as fingerprints.

    Attributes:
        network: Its architecture, and the pool of the attacker.
        images: Those of the pool that it has; None for all.
    """

    network: str
    images: str | None


def stands_beside(theft: Own | None, alone: Own | None) -> bool:
    """Whether what was trained without answers had the theft's images, or all its pool.

    Of what is not known nothing speaks against it.
    """
    if theft is None or alone is None:
        return True
    return theft.network == alone.network and alone.images in (None, theft.images)


def times_of(passes: float | int, short: float | int) -> int | None:
    """How many times as many passes they are; None where that is no whole number."""
    times = round(passes / short)
    alike = abs(passes - times * short) <= ALIKE * times * short
    return times if times and alike else None


def flaws(score: Score) -> list[str]:
    """What is to be known of how a probe was solved, in a word or two each."""
    how, undecided = score.solved, bool(score.solved.get("l2_undecided"))
    found = {
        "stopped short": how.get("converged") is False,
        "grid's end": bool(how.get("l2_at_edge")) and not undecided,
        "no choice": undecided,
    }
    return [flaw for flaw, there in found.items() if there]


class Record(NamedTuple):
    """One encoder on one data set, beside one victim; None where nothing is to say.

    Attributes:
        dataset: With protocols told apart.
        kind: The victim's recipe in words, without its seed.
        role: victim, stolen, alone (a stealer that asked nobody), independent (a
            further victim that was not asked), untrained, pixels, majority (the
            most frequent class of the training split, whatever the image).
        theft: Label of a theft; of an untrained network whose batch statistics it has,
            "batch" or "initial".
        cell: Theft, budget and kind of victim: all but seeds.
        changes: What all combinations with this theft, or this victim, have in common.
        settings: In which a theft differs from its like, by the recipes.
        victim: Key of the run.
        run: Key of the encoder's run; of what has none, that of its probe.
        probe: Key of the run.
        compared: Key of the run that compares it with the victim.
        asked: Key of the run that asked the victim.
        attack: Its name.
        loss: Its name, "own" where the attack brings it.
        queries: Images sent; 0 where nobody is asked.
        seed: The encoder's own.
        victim_seed: The victim's.
        confidence: Of the intervals.
        scores: Evaluator -> what it says.
        of_victim: Accuracy by the primary evaluator over that of the victim.
        fidelity: Measure -> figure against this victim.
        accounts: Account -> counters, as the service billed them.
        usd: All that was billed.
        own: What it has without answers, of a stealer.
        images: Different ones that it was trained on, with what it trained before.
        passes: Views that went through it meanwhile.
        flops: Of the same.
        victim_flops: Of the victim's training.
    """

    dataset: str
    kind: str
    role: str
    theft: str | None
    cell: str | None
    changes: dict[str, Any]
    settings: dict[str, str]
    victim: str | None
    run: str
    probe: str
    compared: str | None
    asked: str | None
    attack: str | None
    loss: str | None
    queries: int | None
    seed: int | None
    victim_seed: int | None
    confidence: float
    scores: dict[str, Score]
    of_victim: float | None
    fidelity: dict[str, float | None]
    accounts: dict[str, dict[str, Any]]
    usd: float | None
    own: Own | None
    images: int | None
    passes: int | None
    flops: float | None
    victim_flops: float | None


class Probe(NamedTuple):
    """A finished probe.

    Attributes:
        node: The run.
        set: Its data and protocol, a fingerprint.
        encoder: Key of the run whose features it judges; None for no such run.
        untrained: What an untrained encoder is made of; None for others.
    """

    node: Node
    set: str
    encoder: str | None
    untrained: dict[str, Any] | None


def probes_of(nodes: dict[str, Node]) -> Iterator[Probe]:
    """The finished probes, whether on features that were kept or not."""
    for node in nodes.values():
        if node.stage != "probe" or not (node.finished and node.meta.get("results")):
            continue
        # Features kept apart say what they are of; else the probe itself does.
        source = nodes.get(node.parents.get("features", ""), node)
        # The study's own probe has a rate for victims and one for thefts.
        apart = ("untrained", "reference", "svm")
        recipe = {k: v for k, v in node.recipe.items() if k not in apart}
        yield Probe(
            node,
            fingerprint(recipe),
            source.parents.get("encoder"),
            source.recipe.get("untrained"),
        )
