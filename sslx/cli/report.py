"""A report from finished runs alone; nothing is trained or asked.

Command: sslx report PATH... [--out DIR]

A PATH is a workdir (all its probed thefts), a report run (its thefts), or stealers'
runs. Files: report.html, report.md, results.json, CSV files, pictures.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from sslx.report.labels import asks_nothing
from sslx.report.records import Member, probes_of
from sslx.report.write import members_of, remade, write
from sslx.runs.lineage import Node, is_run, lineage, read_node
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if

Pairs = list[tuple[str | None, str]]  # key of a victim, key of a stealer


class Given(NamedTuple):
    """What the paths stand for.

    Attributes:
        nodes: The runs that belong, by key.
        members: Who is judged against whom.
        notes: What was left out, a sentence each.
    """

    nodes: dict[str, Node]
    members: list[Member]
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
            refuse_if(
                not thefts,
                f"{path} holds no finished theft with a finished probe",
            )
        elif (node := read_node(path)).stage == "report":
            found = _reported(node)
            pairs += _pairs_in(node, found)
            thefts = []
        elif node.stage == "steal":
            found = lineage(node.path.parent.parent)
            refuse_if(
                _finished(node).key not in _probed(found),
                f"{path} has no finished probe; run the stage probe",
            )
            thefts = [node]
        else:
            raise UserError(
                f"{path} is a run of the stage {node.stage}; give stealers' runs, a "
                "report's run or a workdir"
            )
        nodes |= found
        for theft in thefts:
            refuse_if(
                "attack" not in theft.recipe,
                f"{theft.path} names no attack: another sslx made it",
            )
            victim = _victim(nodes, theft)
            if victim:
                pairs.append((victim, theft.key))
            else:
                alone.append(theft)
    pairs += _pairs_of(alone, nodes, [victim for victim, _ in pairs if victim])
    members = [Member(*pair, {}) for pair in dict.fromkeys(pairs)]
    return Given(nodes, members, notes)


def _finished(node: Node) -> Node:
    if not node.finished:
        why = node.problem or "not finished; run it to its end first"
        raise UserError(f"{node.path}: {why}")
    return node


def _reported(report: Node) -> dict[str, Node]:
    """The runs of a report with all that they build on."""
    workdir = _finished(report).path.parent.parent
    nodes: dict[str, Node] = {}
    waiting = list(report.parents.values())
    while waiting:
        key = waiting.pop()
        if key not in nodes:
            nodes[key] = _finished(read_node(workdir / key))
            waiting += nodes[key].parents.values()
    return dict(sorted(nodes.items()))


def _pairs_in(report: Node, nodes: dict[str, Node]) -> Pairs:
    """The pairs that a report names; one that names none has a single victim."""
    victim = report.parents.get("victim")
    pairs = [
        (victim, key)
        for role, key in report.parents.items()
        if role.startswith("steal")
    ]
    if "pairs" in report.meta:
        pairs = [(victim, steal) for victim, steal in report.meta["pairs"]]
    if "members" in report.recipe:
        pairs = [(m.victim, m.theft) for m in members_of(report.recipe) if m.theft]
    refuse_if(
        not pairs,
        f"{report.path} is the report of an experiment without a theft",
    )
    if lost := {key for pair in pairs for key in pair if key} - set(nodes):
        raise UserError(f"{report.path} does not build on {min(lost)}, which it names")
    return pairs


def _probed(nodes: dict[str, Node]) -> set[str]:
    """The encoders that have a finished probe."""
    return {probe.encoder for probe in probes_of(nodes) if probe.encoder}


def _thefts(nodes: dict[str, Node]) -> tuple[list[Node], list[str]]:
    """The probed thefts of a workdir, and of those left out a sentence."""
    probed = _probed(nodes)
    stealers = [n for n in nodes.values() if n.stage == "steal"]
    unfinished = sum(not n.finished for n in stealers)
    plural = "s are" if unfinished > 1 else " is"
    notes = [f"{unfinished} unfinished stealer{plural} left out."] if unfinished else []
    return [n for n in stealers if n.finished and n.key in probed], notes


def _victim(nodes: dict[str, Node], steal: Node) -> str | None:
    """Whom a stealer has asked; None for one that has asked nobody."""
    responses = nodes.get(steal.parents.get("responses", ""))
    victim = responses.parents.get("victim") if responses else None
    return victim if victim in nodes else None


def _pairs_of(alone: list[Node], nodes: dict[str, Node], victims: list[str]) -> Pairs:
    """Judges what has asked nobody against the others' victims of the same seed.

    Against all of them where none has its seed; against none where there are none. A
    victim that is probed on other data alone is none of its.
    """
    sets: dict[str, set[str]] = {}
    for probe in probes_of(nodes):
        sets.setdefault(probe.encoder or "", set()).add(probe.set)
    pairs: Pairs = []
    for node in alone:
        near = [v for v in victims if v not in sets or sets[v] & sets[node.key]]
        seed = node.recipe.get("seed")
        alike = [v for v in near if nodes[v].recipe.get("seed") == seed]
        pairs += [(victim, node.key) for victim in alike or near]
        pairs += [(None, node.key)] * (not near)
    return pairs


def main(argv: list[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="sslx report",
        description="Writes a report from finished runs.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=local_path,
        help="a workdir, a report's run, or stealers' runs",
    )
    parser.add_argument(
        "--out",
        type=local_path,
        metavar="DIR",
        default=Path("report"),
        help="where to write; default: ./report",
    )
    args = parser.parse_args(argv)
    folder = args.out  # never a run: its files are what the run ended with
    only = read_node(args.paths[0]) if len(args.paths) == 1 else None
    if only and "members" in only.recipe:  # as it was made
        print(remade(only.recipe, _reported(only), folder))
    else:
        nodes, members, notes = gather(args.paths)
        stolen = {
            m.theft for m in members if m.theft and not asks_nothing(nodes[m.theft])
        }
        title = f"Study of {len(stolen)} stolen encoders"
        print(write(folder, nodes, members, title=title, notes=notes))
    print(f"page: {folder / 'report.html'}")
    print(f"report: {folder / 'report.md'}", flush=True)
