"""How runs are carried out and where lies what they need; none of it decides a result.

A run's recipe names content (a data set by its identity, weights by their digest); the
context says where that content is found here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sslx import data
from sslx.data.splits import divide
from sslx.embed import recording, shipped
from sslx.runs.names import fingerprint
from sslx.train.fit import Loop
from sslx.types import UserError, printable


class Place(NamedTuple):
    """A data set as it is called here: all of ``sslx.data`` takes both."""

    name: str
    options: data.Options

    @property
    def title(self) -> str:
        """Its name in texts and pictures, which do not take everything."""
        return printable(self.name)

    def load(self, split: str) -> data.Split:
        """See ``data.load``."""
        return data.load(self.name, split, self.options)

    def ids(self, split: str) -> np.ndarray:
        """See ``data.ids``."""
        return data.ids(self.name, split, self.options)

    def unseen(self, name: str) -> np.ndarray:
        """Whether a shipped victim did not see each training image, bool (n,)."""
        marks = data.marks(self.name, "train", self.options)
        return np.isin(marks, shipped.unseen(name))

    def describe(self) -> data.Info:
        """See ``data.describe``."""
        return data.describe(self.name, self.options)


class Watching(NamedTuple):
    """When a victim is looked at while it trains, and its vote of neighbours."""

    epochs: int  # between two looks; 0: none
    k: int
    temperature: float


class Context(NamedTuple):
    """What a stage must know besides its run.

    Attributes:
        loop: How trainings are carried out.
        places: Fingerprint of a data set's identity -> where it lies.
        files: Digest of weights or of recorded answers -> the file that holds them.
        left_out: What recipes say of rows that are left out -> the rows.
        recordings: Digest of a pool that a recording makes -> the file, and the names
            and options of the data sets whose test images are nobody's to ask.
        watching: Of victims.
        keep_features: Whether features stay on disk.
    """

    loop: Loop
    places: Mapping[str, Place]
    files: Mapping[str, str]
    left_out: Mapping[str, np.ndarray]
    recordings: Mapping[str, tuple[str, list[tuple[str, data.Options]]]]
    watching: Watching
    keep_features: bool

    def place(self, identity: dict[str, Any]) -> Place:
        """Where a data set lies.

        Raises:
            UserError: It is none of those that this experiment knows.
        """
        found = self.places.get(fingerprint(identity))
        if found is None:
            raise UserError(
                f"the data set {identity} is not at hand in this experiment"
            )
        return found

    def without(self, rows: np.ndarray, recipe: dict[str, Any]) -> np.ndarray:
        """Rows without those that a recipe leaves out."""
        if "left_out" not in recipe:
            return rows
        return np.setdiff1d(rows, self.left_out[recipe["left_out"]])


class Images(NamedTuple):
    """The attacker's: all functions load; no ``labels`` where they have none.

    ``ids`` are equal for images that show the same original.
    """

    load: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray] | None
    ids: Callable[[], np.ndarray]


def pool(recipe: dict[str, Any], context: Context) -> Images:
    """The attacker's images, from the recipe of what uses them.

    Args:
        recipe: With ``pool``, ``split``, ``held_out``, ``test_kept``, ``split_seed``,
            ``left_out`` where there are such, ``shipped`` for the images that a
            shipped victim did not see.
        context: Where they lie.
    """
    if "answered" in recipe["pool"]:
        known = context.recordings[recipe["pool"]["answered"]]
        load = partial(recording.askable, *known)
        return Images(load, None, lambda: np.arange(len(load())))
    place, split = context.place(recipe["pool"]), recipe["split"]
    rows = np.arange(place.describe().sizes[split])
    if "shipped" in recipe:
        rows = np.flatnonzero(place.unseen(recipe["shipped"]))
    elif recipe["held_out"] is not None:
        _, rows = divide(place.ids(split), recipe["held_out"], recipe["split_seed"])
    elif recipe["test_kept"] is not None:
        rows, _ = divide(place.ids(split), recipe["test_kept"], recipe["split_seed"])
    rows = context.without(rows, recipe)

    def taken(array: np.ndarray) -> np.ndarray:
        return array if len(rows) == len(array) else array[rows]

    return Images(
        lambda: taken(place.load(split).images),
        (lambda: taken(place.load(split).labels)) if place.describe().classes else None,
        lambda: taken(place.ids(split)),
    )


def kept_rows(r: dict[str, Any], context: Context) -> np.ndarray:
    """The rows of the test split that figures are on: not for sale, and nobody's.

    Args:
        r: What of a recipe says which set and which rows.
        context: Where it lies.
    """
    place = context.place(r["data"])
    rows = np.arange(place.describe().sizes["test"])
    if r["test_kept"] is not None:
        _, rows = divide(place.ids("test"), r["test_kept"], r["split_seed"])
    return context.without(rows, r)
