"""What stands in a workdir: its runs, what each builds on and what builds on it.

Only the JSON files are read, and whatever is wrong with one is noted at its run.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from sslx.runs.files import CHECKPOINTS, read_json
from sslx.types import UserError, refuse_if

# A directory with any of these is a run, or what is left of one.
_MARKS = ("meta.json", "config.json", CHECKPOINTS, "lock")


class Node(NamedTuple):
    """A run as it stands on disk.

    Attributes:
        path: The run directory.
        key: ``<stage>/<name>``, after the directories.
        recipe: config.json; {} where it cannot be read.
        meta: meta.json; {} where it cannot be read.
        parents: Role -> key of the run this one builds on, there or not.
        children: Keys of the runs that build on this one, as ``lineage`` found them.
        problem: What is wrong with the directory, in one line; None for nothing.
    """

    path: Path
    key: str
    recipe: dict[str, Any]
    meta: dict[str, Any]
    parents: dict[str, str]
    children: list[str]
    problem: str | None

    @property
    def stage(self) -> str:
        """What makes such runs: victim, classifier, responses, steal, features, ..."""
        return self.key.partition("/")[0]

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.meta.get("finished") is True


def is_run(path: Path) -> bool:
    """Whether a directory is a run's, or what is left of one."""
    return any(os.path.exists(path / mark) for mark in _MARKS)


def read_node(path: Path) -> Node:
    """Reads the JSON files of a run directory; never raises for what is in them."""
    path = Path(os.path.abspath(path))  # symlinks keep their names
    key = f"{path.parent.name}/{path.name}"
    found: dict[str, dict] = {}
    problems = []
    for name in ("config.json", "meta.json"):
        try:
            found[name] = read_json(path / name)
        except UserError as error:
            found[name] = {}
            problems.append(str(error).replace(f"{path}/", ""))
    if not path.is_dir():
        problems = ["missing"]
    parents = found["meta.json"].get("parents", {})
    if not isinstance(parents, dict) or not all(
        isinstance(parent, str) for parent in parents.values()
    ):
        parents, problems = {}, [*problems, "meta.json names no parents"]
    problem = "; ".join(problems) or None
    return Node(
        path, key, found["config.json"], found["meta.json"], parents, [], problem
    )


def lineage(workdir: str | Path) -> dict[str, Node]:
    """The runs of a workdir by their keys, ``<stage>/<name>``, sorted.

    A parent that is not among the keys has been deleted.

    Raises:
        UserError: The workdir is no directory, or no run is in it.
    """
    workdir = Path(workdir)
    refuse_if(not workdir.is_dir(), f"there is no directory {workdir}")
    folders = [p for p in sorted(workdir.glob("*/*")) if p.is_dir() and is_run(p)]
    refuse_if(
        not folders,
        f"{workdir} is neither a run directory nor a workdir with runs in it",
    )
    nodes = {node.key: node for node in map(read_node, folders)}
    for node in nodes.values():
        for parent in dict.fromkeys(node.parents.values()):
            if parent in nodes:
                nodes[parent].children.append(node.key)
    return nodes


def ancestors(node: Node) -> list[tuple[int, Node]]:
    """A run and what it builds on, (generations back, run), each run once."""
    workdir = node.path.parent.parent
    found: list[tuple[int, Node]] = []
    seen = set()

    def visit(node: Node, depth: int) -> None:
        seen.add(node.key)
        found.append((depth, node))
        for parent in node.parents.values():
            older = read_node(workdir / parent)
            if older.key not in seen:
                visit(older, depth + 1)

    visit(node, 0)
    return found


def data_slug(node: Node) -> str | None:
    """The short name of the data that a run is on, None for one that names no data.

    For a victim and for responses it is what the run's name holds between the parts
    that its recipe gives; for a probe the name that its results give.
    """
    r = node.recipe
    data = r.get("data") or r.get("pool")
    if not isinstance(data, dict) or not data:
        return None
    kind = next(iter(data))
    end = f"-s{r.get('seed')}-{node.key.rpartition('-')[2]}"
    if node.stage == "victim":
        start = f"victim/{r.get('objective')}-{(r.get('encoder') or {}).get('name')}-"
    elif node.stage == "responses":
        start = f"responses/{r.get('plan')}-"
        end = f"-{r.get('queries')}q{end}"
    else:
        rows = node.meta.get("results")
        return str(rows[0]["dataset"]) if rows else kind
    if node.key.startswith(start) and node.key.endswith(end):
        return node.key[len(start) : -len(end)]
    return kind
