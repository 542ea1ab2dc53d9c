"""Whom an image belongs to: the victim, the attacker or the test, and nobody else.

Images are compared by their pixels as networks see them, after size and channels are
changed, in all sets alike. No image is for sale that the victim is trained on or that a
probe tests on; nobody of a table is judged on an image that a victim of the table, or
the probe itself, was trained on.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.data import form
from sslx.data.splits import divide
from sslx.embed import shipped
from sslx.evals.uneven import is_uneven
from sslx.experiment.recipes import positive, reading, share
from sslx.experiment.victims import is_foreign
from sslx.types import refuse_if

NAMED = 3  # images of each reason that are called by name


class Apart(NamedTuple):
    """Rows of a split that are left out.

    Attributes:
        rows: Ascending.
        why: In words; "" where there are none.
    """

    rows: np.ndarray
    why: str

    @property
    def key(self) -> str:
        """What tells them from other rows of the split; "" where there are none."""
        count = len(self.rows)  # for people
        return f"{count}-{form.digest(self.rows)}" if count else ""

    def recipe(self) -> dict[str, str]:
        """Their part of a recipe; nothing where none are left out."""
        return {"left_out": self.key} if self.key else {}

    def words(self) -> dict[str, str]:
        """Likewise of a run's words."""
        return {"left_out": self.why} if self.why else {}


NOBODY = Apart(np.empty(0, np.int64), "")


class Test(NamedTuple):
    """The test images of a probe's set.

    Attributes:
        name: Of the set.
        info: The set.
        kept: The share of the images that is nobody's to ask; None for all.
        rows: That figures are on.
        apart: Those of the share that are left out.
        uneven: Whether the classes of the rows are uneven in number.
    """

    name: str
    info: data.Info
    kept: float | None
    rows: np.ndarray
    apart: Apart
    uneven: bool


def _compare(
    what: str, place: tuple[str, str, data.Options], rows: np.ndarray, reasons: dict
) -> Apart:
    """Which of the rows show an image of the reasons.

    Args:
        what: The images in words.
        place: Set, split and form.
        rows: Of the split.
        reasons: In words -> marks (see ``data.marks``) of images.
    """
    name, split, options = place
    reasons = {reason: known for reason, known in reasons.items() if len(known)}
    if not reasons:  # then the images need not be read
        return NOBODY
    marks = data.marks(*place)[rows]
    out, told = np.zeros(len(rows), bool), []
    for reason, known in reasons.items():
        alike = np.isin(marks, known) & ~out
        if alike.any():
            some = [
                data.name_of(name, split, int(row), options)
                for row in rows[alike][:NAMED]
            ]
            more = ", ..." if alike.sum() > NAMED else ""
            told.append(f"{alike.sum():,} for {reason} ({', '.join(some)}{more})")
            out |= alike
    if not told:
        return NOBODY
    count = f"{out.sum():,} of {len(rows):,} {what}"
    return Apart(rows[out], f"{count} left out: {'; '.join(told)}")


def _trained_on(config: ConfigDict) -> np.ndarray:
    """Marks of the images that a victim is trained on.

    None are known of one that comes from elsewhere.
    """
    name, d, options = config.victim.dataset, config.data, reading(config)
    if known := shipped.named(config.victim.source):
        marks = data.marks(name, "train", options)
        return marks[~np.isin(marks, shipped.unseen(known))]
    if is_foreign(config):
        return np.empty(0, np.int64)
    rows, _ = divide(data.ids(name, "train", options), d.held_out, d.split_seed)
    return data.marks(name, "train", options)[rows]


def _kept(
    config: ConfigDict, info: data.Info, thieves: list[ConfigDict]
) -> float | None:
    """The least share of a set's test images that a thief leaves."""
    shares = [
        other.steal.test_kept
        for other in thieves
        if other.steal.pool == "test"
        and data.describe(other.victim.dataset, reading(other)).identity
        == info.identity
    ]
    for value in shares:
        share("steal.test_kept", value)
    return min(shares, default=None)


def tests_of(
    config: ConfigDict,
    sets: dict[str, data.Info],
    beside: list[ConfigDict],
    thieves: list[ConfigDict],
) -> list[Test]:
    """What the probes of a combination judge on.

    Args:
        config: The combination's.
        sets: Its probes' sets that are at hand.
        beside: All combinations whose figures stand in one table, its own with them.
        thieves: Those of them that steal.

    Raises:
        UserError: Nothing, or less than half of a set, is left.
    """
    victims = {
        (is_foreign(c), c.victim.dataset, c.data.to_json_best_effort()): c
        for c in beside
    }
    trained = np.concatenate([_trained_on(c) for c in victims.values()])
    out, options = [], reading(config)
    for name, info in sets.items():
        reasons = {
            "training images of a victim": trained,
            "training images of the set itself": data.marks(name, "train", options),
        }
        kept = _kept(config, info, thieves)
        rows = np.arange(info.sizes["test"])
        if kept is not None:
            ids = data.ids(name, "test", options)
            _, rows = divide(ids, kept, config.data.split_seed)
            positive("steal", {"number of test images kept": len(rows)})
        what = f"test images of {name!r}"
        apart = _compare(what, (name, "test", options), rows, reasons)
        refuse_if(
            2 * len(apart.rows) > len(rows),
            f"{apart.why}: less than half is left to judge on: name another set in "
            "probe.datasets or service.honest.beside, whose test images are not in "
            "victim.dataset",
        )
        rows = np.setdiff1d(rows, apart.rows)
        uneven = is_uneven(data.labels_of(name, "test", options)[rows])
        out.append(Test(name, info, kept, rows, apart, uneven))
    return out


def not_for_sale(
    config: ConfigDict,
    name: str,
    split: str,
    rows: np.ndarray,
    tests: list[Test],
    more: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Apart:
    """The rows of a pool that are the victim's, or that a probe tests on.

    Args:
        config: The combination's.
        name: The data set of the pool.
        split: Its split.
        rows: The pool's.
        tests: What is judged on.
        more: Further reasons, in words -> marks.
    """
    options = reading(config)
    reasons = {"training images of the victim": _trained_on(config), **more} | {
        # Those that are left out are test images, too: which they are depends on the
        # victims of other combinations, and what is sold here must not.
        f"test images of {test.name!r}": data.marks(test.name, "test", options)[
            np.union1d(test.rows, test.apart.rows)
        ]
        for test in tests
    }
    what = f"images of steal.pool {config.steal.pool!r}"
    return _compare(what, (name, split, options), rows, reasons)
