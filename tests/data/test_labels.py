import numpy as np
import pytest

from sslx.data import labels
from sslx.types import UserError

HALVES = [0.5, 1, 2, 0]
MANY = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])


def numbered(train, test):
    columns = {"train": train, "test": test}
    flat = {
        s: labels.flat(np.asarray(c), len(c), f"{s}_labels") for s, c in columns.items()
    }
    return labels.number(flat, {s: f"{s}_labels" for s in columns})


def hot(rows, k=3, dtype=float):
    return np.eye(k, dtype=dtype)[rows]


@pytest.mark.parametrize(
    ("train", "test", "expected", "names"),
    [
        ([0, 1, 2, 1], [2, 0], [0, 1, 2, 1, 2, 0], []),
        (np.array([[1], [0]], np.uint8), [[1], [0]], [1, 0, 1, 0], []),
        (np.array([[[1]], [[0]]]), [1], [1, 0, 1], []),
        ([True, False], [[True], [False]], [1, 0, 1, 0], []),
        (
            np.array([2.0, 0, 1], np.float16),
            np.array([1, 2], np.int8),
            [2, 0, 1, 1, 2],
            [],
        ),
        (hot([2, 0, 1]), hot([1, 2], dtype=bool), [2, 0, 1, 1, 2], []),
        (hot([0, 1, 0], 2, np.int64), [1, 0], [0, 1, 0, 1, 0], []),
        # Not 0, 1, 2: gaps, what 32 bits cannot hold or mix up, names.
        ([7, 3, 5], [3, 7], [2, 0, 1, 0, 2], [3, 5, 7]),
        ([1, 2, 3], [3, 1], [0, 1, 2, 2, 0], [1, 2, 3]),
        ([2**32, 0, 1], [2**32], [2, 0, 1, 2], [0, 1, 2**32]),
        (
            np.array([2**63 + 1, 2**63, 2**31], np.uint64),
            np.array([2**31], np.int64),
            [2, 1, 0, 0],
            [2**31, 2**63, 2**63 + 1],
        ),
        ([2.0**40, 4.0], [4], [1, 0, 0], [4, 2**40]),
        (["b", "a", "c10"], ["a", "b"], [1, 0, 2, 0, 1], ["a", "b", "c10"]),
        ([b"dog", b"cat"], ["cat"], [1, 0, 0], ["cat", "dog"]),
        (["cafe\u0301", "bar"], ["caf\u00e9"], [1, 0, 1], ["bar", "caf\u00e9"]),
        (hot([0, 2, 0]), hot([2, 0]), [0, 1, 0, 1, 0], [0, 2]),
        # A class that the test split has none of is one all the same.
        ([0, 1, 2, 3], [1], [0, 1, 2, 3, 1], []),
        ([4, 4], [4], [0, 0, 0], [4]),
    ],
)
def test_numbering(train, test, expected, names):
    # Catches a cast before a check, floats that merge neighbours, numbers by the
    # greatest label, an order by first sight, a name in two Unicode forms.
    found = numbered(train, test)
    both = np.concatenate([found.splits["train"], found.splits["test"]])
    assert both.tolist() == expected and both.dtype == np.int32
    assert found.classes == len(set(expected)) and found.names == names
    assert bool(found.identity) == bool(names)


def test_identity_is_that_of_the_names():
    # Catches two sets with the same numbers for other classes taken for one.
    one, two = numbered([1, 2, 3], [1]), numbered([1, 2, 4], [1])
    assert one.identity != two.identity == numbered([4, 2, 1], [2]).identity
    assert one.identity != numbered(["1", "2", "3"], ["1"]).identity


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([-1, 0, 1, 2], r"0 or more, but 1 of 4 are below \(least: -1\).*pool without"),
        ([-1.0, 0, 1, 2], "0 or more, but 1 of 4"),
        ([np.nan, 0, 1, np.inf], "2 of 4 labels are NaN or infinite"),
        (HALVES, r"1 of 4 labels are no whole numbers \(first: 0.5\)"),
        (
            np.array([1, 2, 3, 2**24 + 2], np.float32),
            "float32 does not tell .*16777216",
        ),
        (np.array([1, 2, 3, 1e30]), "float64 does not tell"),
        ([0, 1, 2], r"shape \(4,\), one an image, not int64 \(3,\)"),
        ([[0, 1, 2, 1]], r"shape \(4,\), .*not int64 \(1, 4\)"),
        (5, r"shape \(4,\), one an image, not int64 \(\)"),
        (np.zeros((4, 0)), r"shape \(4,\)"),
        (np.zeros((4, 2, 2)), r"shape \(4,\)"),
        (
            MANY,
            r"1 of 4 images have several classes or none \(first: row 0\).*labels\[",
        ),
        (np.zeros((4, 3)), "4 of 4 images have several classes or none"),
        (MANY * 255, r"3 columns that are no one-hot.*labels\[:, 0\]"),
        (np.full((4, 3), 1 / 3), "no one-hot code"),
        (np.full((4, 2), np.nan), "no one-hot code"),
        (np.full((4, 2), "a"), "no one-hot code"),
        (np.array([1j, 0, 0, 0]), "whole numbers or names, one an image, not complex"),
        (np.zeros(4, "datetime64[s]"), "not datetime64"),
        (np.zeros(4, [("a", int)]), "whole numbers or names"),
        (np.array([object()] * 4), "not object"),
        (["a", "b", "", ""], "2 of 4 images have an empty name"),
    ],
)
def test_what_is_no_class(column, message):
    # Catches labels taken on trust, and a refusal without the way out.
    with pytest.raises(UserError, match=rf"^train_labels.*{message}") as error:
        labels.flat(np.asarray(column), 4, "train_labels")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1], [5, 7, 6, 8, 0], r"4 of 5 test images .*\(5, 6, 7, \.\.\.\), so"),
        ([0, 2], [1, 1], r"2 of 2 test images .*\(1\)"),
        ([0, 1], [2**32 + 1], r"1 of 1 test images .*\(4294967297\)"),
        (["cat", "dog"], ["Cat", "dog"], r"1 of 2 test images .*\('Cat'\)"),
        (["0", "1"], [0, 1], "train_labels and test_labels are names and numbers"),
    ],
)
def test_labels_of_two_splits(train, test, message):
    # Catches a test label that nothing can be right on, and names beside numbers.
    with pytest.raises(UserError, match=message):
        numbered(train, test)


def test_what_a_source_gives():
    # Catches labels of one's own source that are cut, out of range or not there.
    assert labels.as_numbered(np.arange(3.0), 3, 3, "x").dtype == np.int32
    assert labels.as_numbered(np.zeros(0), 2, 0, "x").tolist() == [-1, -1]
    for column in ([0, 3], [0, 2**32], ["a", "b"], [0, -1], [0]):
        with pytest.raises(UserError):
            labels.as_numbered(np.array(column), 2, 3, "x")


def test_what_is_told():
    # Catches a line of a thousand names.
    assert (
        labels.told("F", [3, 5]) == "F: its labels, 2 in all (3, 5), are numbered 0, 1"
    )
    line = labels.told("F", [f"n{i}" for i in range(9)])
    assert (
        line
        == "F: its labels, 9 in all ('n0', 'n1', 'n2', ...), are numbered 0, 1, 2, ..."
    )
