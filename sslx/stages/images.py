"""Who may see which images: the attacker's, and those that figures are on."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sslx.context import Context
from sslx.data.splits import divide
from sslx.embed import recording
from sslx.runs.names import Run


class Images(NamedTuple):
    """The attacker's: both functions load; no ``labels`` where they have none."""

    load: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray] | None


def pool(recipe: dict[str, Any], context: Context) -> Images:
    """The attacker's images, from the recipe of what uses them.

    Args:
        recipe: With ``pool``, ``split``, ``held_out``, ``test_kept``, ``split_seed``.
        context: Where they lie.
    """
    if "answered" in recipe["pool"]:
        known = context.recordings[recipe["pool"]["answered"]]
        return Images(partial(recording.askable, *known), None)
    place, split = context.place(recipe["pool"]), recipe["split"]
    rows: np.ndarray | slice = slice(None)
    if recipe["held_out"] is not None:
        ids = place.ids(split)
        _, rows = divide(ids, recipe["held_out"], recipe["split_seed"])
    elif recipe["test_kept"] is not None:
        rows, _ = divide(place.ids(split), recipe["test_kept"], recipe["split_seed"])
    return Images(
        lambda: place.load(split).images[rows], lambda: place.load(split).labels[rows]
    )


def kept_rows(run: Run, context: Context) -> np.ndarray:
    """The rows of the test split that figures are on: those that were not for sale."""
    r = run.recipe
    ids = context.place(r["data"]).ids("test")
    if r["test_kept"] is None:
        return np.arange(len(ids))
    return divide(ids, r["test_kept"], r["split_seed"])[1]
