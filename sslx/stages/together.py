"""Stealers that differ in seed or in numbers only train together, as one program.

Which do follows from the recipes of the cells that a study asks for, never from what
happens to be missing, so that a study that was cut short ends as one that was not.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sslx import hosts
from sslx.build import optimiser_of
from sslx.experiment.thefts import Cell
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.stages import steal
from sslx.stages.query import Answered, answered
from sslx.stages.training import encoder_meta, make_loop
from sslx.train import checkpoint
from sslx.train.members import Group, Member
from sslx.train.mesh import on_cpu
from sslx.train.together import fit_together
from sslx.types import UserError

# Parts of a stealer's recipe whose floats may differ: they reach nothing but
# arithmetic. What is no float decides shapes or what is computed at all.
NUMBERS = ("numbers", "attack_numbers", "optim")
# How many at once on an accelerator. On a CPU one after another, each over all of the
# devices, was not beaten (docs/performance.md).
AT_ONCE = 8


def groups(cells: Sequence[Cell], most: int) -> list[list[Cell]]:
    """Which stealers train together: those whose trainings are one program.

    Equal must be all of the recipe but the seed and the floats of ``NUMBERS``, and the
    form of the answers; what was asked may differ, and of how many images.

    Args:
        cells: All that the config asks for, in its order, which decides.
        most: Stealers of a group; 0: as measured.

    Returns:
        Each run of a stealer once, those that train alone as groups of one; in the
        order of their first cells.

    Raises:
        UserError: ``most`` is negative.
    """
    if most < 0:
        raise UserError(f"engine.together must be 0 or more, not {most}")
    classes: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        classes.setdefault(_form(cell), {}).setdefault(cell.steal.name, cell)
    found = []
    for members in map(list, map(dict.values, classes.values())):
        size = most or (1 if on_cpu() else AT_ONCE)
        found += [members[i : i + size] for i in range(0, len(members), size)]
    return found


def _form(cell: Cell) -> str:
    """What the members of a group have in common."""
    if cell.responses is None:
        return cell.steal.name  # trained without answers, alone
    r, asked = cell.steal.recipe, cell.responses.recipe
    masked = {
        part: {k: None if type(v) is float else v for k, v in r[part].items()}
        for part in NUMBERS
    }
    answers = [asked["views"], asked["dim"], asked["classes"]]
    return json.dumps(
        [r | masked | {"seed": None}, answers, sorted(cell.steal.parents)],
        sort_keys=True,
    )


def train_together(cells: Sequence[Cell], configs: Sequence[ConfigDict]) -> None:
    """Trains a group's stealers on their answers, which must be there.

    Those finished before keep their places and are not written to. Several processes,
    and a group of one, train one after another.

    Args:
        cells: A group of ``groups``.
        configs: Of each cell, for where its images lie; how to train is the first's.

    Raises:
        UserError: A run that one builds on is not finished; or losses were not finite,
            which is said when the others are finished.
        Stopped: A signal came; what was computed is saved.
    """
    if len(cells) == 1 or hosts.count() > 1:
        for cell, config in zip(cells, configs, strict=True):
            steal.train(cell, config)
        return
    with ExitStack() as stack:
        needed = {}
        # Whoever holds several holds them in one order, or two would wait for ever.
        for i in sorted(range(len(cells)), key=lambda i: cells[i].steal.path):
            what = f"{steal.purpose(cells[i])}, in a group of {len(cells)}"
            held = working_on(cells[i].steal, what, together=True)
            needed[i] = stack.enter_context(held)
        chosen = [i for i in range(len(cells)) if needed[i]]
        if chosen:
            _train({i: (cells[i], configs[i]) for i in chosen}, cells)


def _train(missing: dict[int, tuple[Cell, ConfigDict]], cells: Sequence[Cell]) -> None:
    """Trains the missing ones, which are held, in their places among all."""
    answers: dict[str, Answered] = {}  # shared by those who asked the same
    members: list[Member | None] = [None] * len(cells)
    static: dict[str, Any] = {}
    for i, (cell, config) in missing.items():
        assert cell.responses is not None
        name = cell.responses.name
        if name not in answers:
            answers[name] = answered(cell, config)
        arrays, given = steal.materials(cell, config, answers[name])
        objective = steal.objective_of(cell, cell.steal.recipe, given)
        data = {entry: arrays[entry] for entry in objective.uses}
        own, static = _apart(cell.steal.recipe, given)
        members[i] = Member(cell.steal.recipe["seed"], own, data)
        write_meta(cell.steal, finished=False, **encoder_meta(cell.steal, None))
    first, config = next(iter(missing.values()))
    r = first.steal.recipe

    def build(own):
        changed = {part: r[part] | own[part] for part in NUMBERS}
        given = own["given"]
        if "bound" in given:
            given = given | {"bound": static | given["bound"]}
        objective = steal.objective_of(first, r | changed, given)
        return objective, *optimiser_of(r | changed)

    group = Group(build, members, r["steps"], r["batch_size"])
    runs = [cell.steal.path for cell in cells]
    outcome = fit_together(group, runs, make_loop(config))
    for i, (cell, _) in missing.items():
        if i not in outcome.failed:
            sealed = checkpoint.seal(cell.steal.path)
            write_meta(cell.steal, finished=True, weights=sealed)
    if outcome.failed:
        each = "; ".join(
            f"steal/{cells[i].steal.name}: {why}" for i, why in outcome.failed.items()
        )
        raise UserError(f"{each}; what trained with it is finished")


def _apart(recipe: dict, given: dict) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of its numbers is a stealer's own, and what is the same in all of a group.

    The former for ``Member.own``; the latter of what ``bind`` gave.
    """

    def floats(numbers):
        return {k: v for k, v in numbers.items() if type(v) is float}

    own: dict[str, Any] = {part: floats(recipe[part]) for part in NUMBERS}
    bound = given.get("bound", {})
    traced = {k: v for k, v in bound.items() if isinstance(v, float | np.ndarray)}
    static = {k: v for k, v in bound.items() if k not in traced}
    own["given"] = given | ({"bound": traced} if "bound" in given else {})
    return own, static
