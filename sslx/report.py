"""A study's report from finished runs alone; nothing is trained or asked.

Command: python -m sslx.report PATH... [--out DIR]

A PATH is a workdir (all its probed thefts), a report run (its thefts), or stealers'
runs. Files: report.md, report.html, table.csv, differences.csv, results.json, pictures.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from sslx.command import command
from sslx.stages import study_report
from sslx.stages.lineage import Node, is_run, lineage, read_node
from sslx.stages.report_text import plain
from sslx.stages.study_rows import Pairs
from sslx.types import UserError


class Given(NamedTuple):
    """What the paths stand for.

    Attributes:
        nodes: The runs that belong, by key.
        pairs: (key of a victim or None, key of a stealer).
        notes: What was left out, a sentence each.
    """

    nodes: dict[str, Node]
    pairs: Pairs
    notes: list[str]


def gather(paths: list[Path]) -> Given:
    """The runs and pairs that paths stand for.

    Raises:
        UserError: A path is no run and no workdir, or a run that cannot be used.
    """
    nodes: dict[str, Node] = {}
    pairs: Pairs = []
    notes: list[str] = []
    alone: list[Node] = []  # stealers without a link to a victim
    for path in paths:
        if not is_run(path):
            found = lineage(path)
            thefts, left_out = _thefts(found)
            notes += left_out
            if not thefts:
                raise UserError(f"{path} holds no finished theft with a finished probe")
            nodes |= found
        elif (node := read_node(path)).stage == "report":
            found, thefts = _reported(node)
            nodes |= found
            if "pairs" in node.meta:
                pairs += [(victim, steal) for victim, steal in node.meta["pairs"]]
                continue
            victims = [n.key for n in found.values() if _is_judge(node, n)]
            pairs += [(v, t.key) for t in thefts for v in victims]
            continue
        elif node.stage == "steal":
            nodes |= _around(node)
            thefts = [_checked(node, nodes)]
        else:
            raise UserError(
                f"{path} is a run of the stage {node.stage}; give stealers' runs, a "
                "report's run or a workdir"
            )
        for node in thefts:
            victim = _victim(nodes, node)
            if victim:
                pairs.append((victim, node.key))
            else:
                alone.append(node)
    pairs += _pairs_of(alone, nodes, [victim for victim, _ in pairs if victim])
    return Given(nodes, list(dict.fromkeys(pairs)), notes)


def _is_judge(report: Node, node: Node) -> bool:
    """Whether a single experiment's report has the run as its victim."""
    return node.key == report.parents.get("victim")


def _finished(node: Node) -> Node:
    if not node.finished:
        why = node.problem or "is not finished; run it to its end first"
        raise UserError(f"{node.path}: {why}" if node.problem else f"{node.path} {why}")
    return node


def _reported(report: Node) -> tuple[dict[str, Node], list[Node]]:
    """The runs of a report with all that they build on, and its thefts."""
    _finished(report)
    workdir, nodes = report.path.parent.parent, {}
    waiting = list(report.parents.values())
    while waiting:
        key = waiting.pop()
        if key not in nodes:
            nodes[key] = _finished(read_node(workdir / key))
            waiting += nodes[key].parents.values()
    roles = report.parents.items()
    thefts = [nodes[key] for role, key in roles if role.startswith("steal")]
    if not thefts and "pairs" not in report.meta:
        raise UserError(f"{report.path} is the report of an experiment without a theft")
    return dict(sorted(nodes.items())), thefts


def _around(steal: Node) -> dict[str, Node]:
    """The runs of the workdir that a stealer lies in."""
    return lineage(steal.path.parent.parent)


def _probed(nodes: dict[str, Node]) -> set[str]:
    """The encoders that have a finished probe."""
    probes = [n for n in nodes.values() if n.stage == "probe" and n.finished]
    sources = [nodes.get(n.parents.get("features", ""), n) for n in probes]
    return {n.parents["encoder"] for n in sources if "encoder" in n.parents}


def _checked(steal: Node, nodes: dict[str, Node]) -> Node:
    if _finished(steal).key not in _probed(nodes):
        raise UserError(
            f"{steal.path} has no finished probe; run the stage probe first"
        )
    return steal


def _thefts(nodes: dict[str, Node]) -> tuple[list[Node], list[str]]:
    """The probed thefts of a workdir, and of those left out a sentence."""
    probed = _probed(nodes)
    stealers = [n for n in nodes.values() if n.stage == "steal"]
    unfinished = sum(not n.finished for n in stealers)
    notes = [f"{unfinished} unfinished stealers are left out."] if unfinished else []
    return [n for n in stealers if n.finished and n.key in probed], notes


def _victim(nodes: dict[str, Node], steal: Node) -> str | None:
    """Whom a stealer has asked; None for one that has asked nobody."""
    responses = nodes.get(steal.parents.get("responses", ""))
    victim = responses.parents.get("victim") if responses else None
    return victim if victim in nodes else None


def _pairs_of(alone: list[Node], nodes: dict[str, Node], victims: list[str]) -> Pairs:
    """Judges what has asked nobody against the others' victims of the same seed.

    Against all of them where none has its seed; against none where there are none.
    """
    pairs: Pairs = []
    for node in alone:
        seed = node.recipe.get("seed")
        alike = [v for v in victims if nodes[v].recipe.get("seed") == seed]
        pairs += [(victim, node.key) for victim in alike or victims or [None]]
    return pairs


def main(argv: list[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="python -m sslx.report",
        description="Writes a study's report from finished runs.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=Path,
        help="a workdir, a report's run, or stealers' runs",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write; default: the report's run if only one is given, else "
        "./report",
    )
    args = parser.parse_args(argv)
    given = gather(args.paths)
    (first, *more) = args.paths
    own = not more and is_run(first) and read_node(first).stage == "report"
    folder = args.out or (first if own else Path("report"))
    title = f"Study of {len({steal for _, steal in given.pairs})} stolen encoders"
    print(plain(study_report.write(folder, *given[:2], title, given.notes)))
    print(f"page: {folder / 'report.html'}")
    print(f"report: {folder / 'report.md'}", flush=True)


if __name__ == "__main__":
    command(main)
