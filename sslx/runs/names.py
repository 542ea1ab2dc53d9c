"""What a run is called: its name follows from all that determines its result.

A run directory is ``WORKDIR/<stage>/<slug>-<fingerprint>/``. The fingerprint hashes
the recipe (all that determines the result, the parents' fingerprints included), so
equal requests meet in one directory and a changed setting never meets an old result.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

_LONGEST = 255  # bytes of a name, on nearly all file systems


class Run(NamedTuple):
    """A run as it is asked for, whether it exists yet or not.

    Attributes:
        workdir: Root of all runs.
        stage: victim, classifier, responses, steal, features, probe, fidelity, gallery
            or report.
        name: ``<slug>-<fingerprint>``, the same in every workdir.
        recipe: All that determines the result, as JSON-like data.
        parents: Role -> the run it builds on.
        words: What people call parts of the recipe ("augment": its preset). They are
            told in meta.json and decide nothing, not even the name.
    """

    workdir: Path
    stage: str
    name: str
    recipe: dict[str, Any]
    parents: dict[str, "Run"]
    words: dict[str, str] = {}

    @property
    def key(self) -> str:
        """``<stage>/<name>``, what other runs and people call it."""
        return f"{self.stage}/{self.name}"

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.workdir / self.stage / self.name


def fingerprint(recipe: Any) -> str:
    """Ten hexadecimal digits of the sha256 of JSON-like data."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def make_run(
    workdir: Path,
    stage: str,
    slug: str,
    recipe: dict,
    parents: dict[str, Run],
    words: dict[str, str] | None = None,
) -> Run:
    """Names a run after its recipe and its parents' names.

    A slug that is too long for a file's name loses its end; the fingerprint stays.
    """
    slug = re.sub(r"[:/\x00-\x1f\x7f]", "-", slug)  # of names such as MODULE:NAME
    recipe = json.loads(json.dumps(recipe))  # tuples become lists, as they are read
    identity = {
        "stage": stage,
        "recipe": recipe,
        "parents": {role: fingerprint_of(run) for role, run in parents.items()},
    }
    mark = f"-{fingerprint(identity)}"
    slug = slug.encode()[: _LONGEST - len(mark)].decode(errors="ignore")
    name = slug + mark
    return Run(workdir, stage, name, recipe, parents, words or {})


def fingerprint_of(run: Run) -> str:
    """The fingerprint at the end of a run's name."""
    return run.name.rpartition("-")[2]


def with_ancestors(
    runs: Iterable[Run], leave_out: Callable[[Run], bool] = lambda run: False
) -> list[Run]:
    """Runs and all that they build on, each once, parents first.

    Args:
        runs: To begin with.
        leave_out: Runs that are not wanted, nor what only they build on.
    """
    found: dict[Path, Run] = {}

    def visit(run: Run) -> None:
        if run.path not in found and not leave_out(run):
            for parent in run.parents.values():
                visit(parent)
            found[run.path] = run

    for run in runs:
        visit(run)
    return list(found.values())
