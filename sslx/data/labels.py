"""Labels as people bring them, to classes numbered 0..k-1: one place for all sources.

They are looked at before anything is cut to 32 bits.
"""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.types import refuse_if

NONE = -1  # the label of an image of a set without labels


class Numbered(NamedTuple):
    """The labels of a set.

    Attributes:
        splits: Split -> int32 (n,), 0..classes-1.
        classes: How many different labels there are, in all splits together.
        names: The labels that became 0, 1, ...; empty where they were that already.
    """

    splits: dict[str, np.ndarray]
    classes: int
    names: list[Any]

    @property
    def identity(self) -> dict[str, str]:
        """Part of ``Info.identity``: a digest of what the numbers stand for."""
        if not self.names:
            return {}
        content = json.dumps(self.names).encode()
        return {"labels": hashlib.sha256(content).hexdigest()[:16]}


def listed(names: Sequence[Any], most: int = 3) -> str:
    """The first few names: ``'a', 'b', 'c', ...``."""
    return ", ".join(
        [*map(repr, names[:most]), *(["..."] if len(names) > most else [])]
    )


def number(columns: dict[str, np.ndarray], what: dict[str, str]) -> Numbered:
    """Numbers the labels of a set in ascending order.

    Args:
        columns: Split -> its labels as ``flat`` gives them.
        what: Split -> what they are called in messages.

    Raises:
        UserError: Names in one split and numbers in another; a label on test images
            that no training image has.
    """
    kinds = {split: column.dtype.kind for split, column in columns.items()}
    refuse_if(
        len(set(kinds.values())) > 1,
        f"{' and '.join(what.values())} are names and numbers; bring both as one kind",
    )
    if "test" in columns:
        check_tested(columns["train"], columns["test"], what["test"])
    known = np.unique(np.concatenate(list(columns.values())))
    plain = known.dtype.kind == "u" and known[-1] == len(known) - 1
    splits = {s: np.searchsorted(known, c).astype(np.int32) for s, c in columns.items()}
    return Numbered(splits, len(known), [] if plain else known.tolist())


def check_widths(arrays: dict[str, np.ndarray], what: dict[str, str]) -> None:
    """Raises a UserError where one-hot columns of two splits cannot be the same."""
    widths = {a.shape[1] if a.ndim == 2 else 1 for a in arrays.values()}
    refuse_if(
        len(widths) > 1,
        f"{' and '.join(what.values())} have {' and '.join(map(str, sorted(widths)))} "
        "columns, which cannot stand for the same classes; save one column of classes "
        "for both",
    )


def check_tested(train: np.ndarray, test: np.ndarray, what: str) -> None:
    """Raises a UserError where test images have a label that no training image has."""
    odd = np.isin(test, train, invert=True)
    names = np.unique(test[odd]).tolist()
    refuse_if(
        names,
        f"{what}: {int(odd.sum())} of {len(test)} test images have labels that no "
        f"training image has ({listed(names)}), so nothing can be right on them; "
        "leave them out, or add such images to the training split",
    )


def flat(array: np.ndarray, n: int, what: str) -> np.ndarray:
    """One label an image: uint64 (n,), or str (n,) where they are names.

    Args:
        array: Whole numbers of any type, booleans or names, (n,) or (n, 1); or (n, k)
            with a single 1 among zeros in each row.
        n: How many images there are.
        what: What they are called in messages.

    Raises:
        UserError: Anything else.
    """
    kind, given = array.dtype.kind, f"not {array.dtype} {array.shape}"
    refuse_if(
        kind not in "biufUS",
        f"{what} must be whole numbers or names, one an image, {given}",
    )
    if array.ndim > 1 and array.size == len(array):
        array = array.reshape(len(array))
    refuse_if(
        array.ndim not in (1, 2) or len(array) != n or not array.size,
        f"{what} must be whole numbers or names of shape ({n},), one an image, {given}",
    )
    if array.ndim == 2:
        return _one_hot(array, what)
    if kind in "US":
        return _names(array, what)
    _check_whole(array, what)
    return array.astype(np.uint64)


def _one_hot(array: np.ndarray, what: str) -> np.ndarray:
    """The column of the only 1 of each row."""
    n, k = array.shape
    hot = array == 1 if array.dtype.kind in "biuf" else np.zeros((n, k), bool)
    refuse_if(
        array.dtype.kind in "US" or not (hot | (array == 0)).all(),
        f"{what} have {k} columns that are no one-hot code; sslx takes one class an "
        "image: save one column, such as labels[:, 0], or labels.argmax(1)",
    )
    odd = np.flatnonzero(hot.sum(1) != 1)
    refuse_if(
        len(odd),
        f"{what}: {len(odd)} of {n} images have several classes or none (first: row "
        f"{odd[0] if len(odd) else 0}); sslx takes one class an image: save one "
        "column, such as labels[:, 0], or leave those images out",
    )
    return hot.argmax(1).astype(np.uint64)


def _names(array: np.ndarray, what: str) -> np.ndarray:
    """Names in one Unicode form."""
    known, inverse = np.unique(array, return_inverse=True)
    text = [x if isinstance(x, str) else _decoded(x) for x in known.tolist()]
    known = np.array([unicodedata.normalize("NFC", x) for x in text])
    empty = int((known == "")[inverse].sum())
    refuse_if(
        empty,
        f"{what}: {empty} of {len(array)} images have an empty name; leave them out",
    )
    return known[inverse]


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _check_whole(array: np.ndarray, what: str) -> None:
    """Raises a UserError unless all are whole numbers from 0 on, and exact."""
    n, floats = len(array), array.dtype.kind == "f"
    if floats:
        missing = int((~np.isfinite(array)).sum())
        refuse_if(
            missing,
            f"{what}: {missing} of {n} labels are NaN or infinite; leave those "
            "images out",
        )
    below = int((array < 0).sum())
    refuse_if(
        below and set(np.unique(array)) == {-1, 1},
        f"{what} are -1 and 1; if these are two classes, save (labels > 0)",
    )
    refuse_if(
        below,
        f"{what} must be 0 or more, but {below} of {n} are below (least: "
        f"{array.min()}); where -1 stands for images without a label, leave those out, "
        "or bring them as a pool without labels",
    )
    if floats:
        broken = np.flatnonzero(array != np.floor(array))
        refuse_if(
            len(broken),
            f"{what}: {len(broken)} of {n} labels are no whole numbers (first: "
            f"{array[broken[0]] if len(broken) else 0}); sslx takes classes, not "
            "values or probabilities",
        )
        exact = 2.0 ** min(np.finfo(array.dtype).nmant + 1, 63)
        refuse_if(
            array.max() > exact,
            f"{what}: {array.dtype} does not tell whole numbers above {exact:.0f} "
            "apart; save integers",
        )


def as_numbered(array: np.ndarray, n: int, classes: int, what: str) -> np.ndarray:
    """The labels that a source gives, as int32 (n,); -1 where a set has none.

    Args:
        array: As of ``flat``.
        n: How many images there are.
        classes: Of the set; 0: it has no labels.
        what: What they are called in messages.

    Raises:
        UserError: Not numbers from 0 to classes - 1.
    """
    if not classes:
        return np.full(n, NONE, np.int32)
    found = flat(array, n, what)
    names = np.unique(found)
    odd = names[names >= classes] if names.dtype.kind == "u" else names
    refuse_if(
        len(odd),
        f"{what} must be numbers from 0 to {classes - 1}, for {classes} classes, not "
        f"{listed(odd.tolist())}",
    )
    return found.astype(np.int32)


def told(where: str, names: list[Any]) -> str:
    """What was made of labels that were not 0, 1, 2, ... already."""
    k = min(len(names), 3)
    numbers = ", ".join(map(str, range(k))) + (", ..." if len(names) > k else "")
    return (
        f"{where}: its labels, {len(names)} in all ({listed(names)}), are numbered "
        f"{numbers}"
    )
