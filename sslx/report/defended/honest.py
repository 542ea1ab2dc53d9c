"""What a defended service is worth to honest users: records of the stage honest."""

from collections.abc import Iterator

from sslx.report import labels
from sslx.report.records import Record, Score
from sslx.runs.lineage import Node
from sslx.runs.names import fingerprint


def defences(nodes: dict[str, Node]) -> dict[str, str]:
    """What each service does to its answers, in words.

    Returns:
        Run that asked -> names, and what tells it from others of these names.
    """
    alike: dict[str, dict[str, labels.Settings]] = {}
    for node in nodes.values():
        if node.stage in ("responses", "honest"):
            r = node.recipe
            kept = {key: r[key] for key in ("output", "calibration") if key in r}
            told = labels.flat(r.get("defence_numbers", {}) | kept)
            if r.get("repeats") == "fresh":
                told |= {"repeats": "fresh"}
            alike.setdefault(r.get("defence", "none"), {})[node.key] = told
    out = {}
    for name, runs in alike.items():
        keys = labels.telling(runs.values())
        for run, told in runs.items():
            out[run] = " ".join([name, *labels.words(told, keys)])
    return out


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
    own = [
        node
        for node in nodes.values()
        if node.stage == "honest"
        and node.finished
        and node.parents.get("victim") == victim
        and fingerprint(node.recipe["data"]) == data
    ]
    services = defences(nodes) if own else {}
    for node in own:
        r, plain = node.recipe, nodes.get(node.parents.get("clean", node.key))
        bare = node.recipe.get("defence", "none") == "none"
        if plain is None or ("clean" not in node.parents and not bare):
            continue  # what they have without the defence is not there (any more)
        defended, clean = (_score(of.meta["results"]) for of in (node, plain))
        defence = services[node.key]
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
