"""What a defended service is worth to honest users: records of the stage honest."""

from collections.abc import Iterator

from sslx.report import labels
from sslx.report.records import Record, Score
from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint


def defence_of(node: Node) -> str:
    """What a service does to its answers, in words: names, numbers, repeats."""
    r = node.recipe
    numbers = labels.flat(r.get("defence_numbers", {}))
    words = [r.get("defence", "none"), *labels.words(numbers, list(numbers))]
    if r.get("repeats") == "fresh":
        words.append("repeats=fresh")
    return " ".join(words)


def honest_records(
    nodes: dict[str, Node], place: tuple[str, str, str | None], data: str
) -> Iterator[Record]:
    """The honest users of a victim on a data set, one record for each run of them.

    Args:
        nodes: All runs.
        place: Data set's name, kind of victim, key of the victim.
        data: Fingerprint of the data set's identity.
    """
    name, kind, victim = place
    for node in nodes.values():
        r = node.recipe
        if (
            node.stage != "honest"
            or not node.finished
            or node.parents.get("victim") != victim
            or fingerprint(r["data"]) != data
        ):
            continue
        defended, clean = (_score(node.meta[part]) for part in ("results", "clean"))
        defence = defence_of(node)
        of_victim = nodes.get(victim or "")
        yield Record(
            dataset=name,
            kind=kind,
            role="honest",
            theft=r["user"],
            cell=f"{r['user']}, {r['size']} images, {defence}",
            changes={},
            settings={"defence": defence},
            victim=victim,
            run=node.key,
            probe=node.key,
            compared=None,
            asked=node.key,
            attack=None,
            loss=None,
            queries=r["size"],
            seed=r["seed"],
            victim_seed=of_victim.recipe.get("seed") if of_victim else None,
            confidence=r["confidence"],
            scores={"linear": defended, "linear_clean": clean},
            of_victim=defended.accuracy / clean.accuracy if clean.accuracy else None,
            fidelity={},
            accounts=node.meta["accounts"],
            usd=node.meta["queries"]["cost"] / r["users"],
            own=None,
            images=r["size"],
            passes=None,
            flops=None,
            victim_flops=None,
        )


def _score(rows: list[dict]) -> Score:
    (row,) = rows
    return Score(row["accuracy"], tuple(row["interval"]), row["n_test"], {})
