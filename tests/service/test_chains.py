"""The laws of several defences one behind the other: all pairs, and longer chains."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from sslx.service import DEFENCES, LAWS, Defence, make_defence
from sslx.service.defences.chain import chain
from sslx.types import UserError
from tests.service.box import DIM
from tests.service.defended import NUMBERS
from tests.service.test_defences import CALLS, EXAMPLE, HOLDS, asked, drawn, same

NAMES = sorted(set(DEFENCES) - {"none"})
CALIBRATED = {"noise", "round", "near_duplicates", "b4b", "coverage_ratio"}
CALIBRATED |= {"proof_of_work"}
# Whose answers are no longer the victim's numbers in the victim's units.
OTHER = {"truncate", "project", "unit_noise_reference", "round_reference"}
OTHER |= {"noise_reference", "top_k_reference", "near_duplicates_reference"}
OTHER |= {"b4b_reference", "b4b_reference_simsiam"}
PAIRS = [
    (one, two)
    for one, two in itertools.permutations(NAMES, 2)
    if not (one in OTHER and two in CALIBRATED)
]


def chained(names):
    """A chain whose every part that narrows leaves one number out of those it gets."""
    numbers, width = {}, DIM
    for name in names:
        narrow = {"k", "width"} & set(NUMBERS.get(name, {}))
        numbers[name] = NUMBERS.get(name, {}) | dict.fromkeys(narrow, width - 1)
        width = make_defence([name], numbers).out_dim(width)
    defence = make_defence(names, numbers)
    assert defence.out_dim(DIM) == width
    return defence


def held(names, calls):
    """Holds a chain to every law that no part of it is exempt from."""
    defence = chained(names)
    for law in LAWS:
        if law not in defence.exempt:
            HOLDS[law](lambda: defence, calls)


def random_calls(seed):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 6, 4)
    return [(random.choice(["a", "b"]), random.integers(0, 12, n)) for n in sizes]


def longer():
    """Ten chains of three to five parts that fit."""
    random, found = np.random.default_rng(0), []
    while len(found) < 10:
        names = tuple(random.permutation(NAMES)[: random.integers(3, 6)].tolist())
        try:
            chained(names)
        except UserError:
            continue
        found.append(names)
    return found


LONGER = longer()


@pytest.mark.parametrize("names", [*PAIRS[:: len(PAIRS) // 8], LONGER[0]], ids="+".join)
def test_some_chains_keep_the_laws(names):
    # Parts that get each other's state or rows, or rows of a part that is cut short.
    held(names, EXAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_all_pairs_keep_the_laws(names):
    # As above, of whichever two.
    held(names, EXAMPLE)
    held(names, [(name, rows.tolist()) for name, rows in random_calls(len(names[0]))])


@pytest.mark.slow
@pytest.mark.parametrize("names", LONGER, ids="+".join)
def test_longer_chains_keep_the_laws(names):
    # As above; and three that want the same thing, or share a bucket.
    settings(drawn, max_examples=5)(
        given(calls=CALLS)(lambda calls: held(names, calls))
    )()


@pytest.mark.parametrize("width", [1, 3, 9, 12])
@pytest.mark.parametrize("first", [True, False])
def test_parts_do_not_find_each_others_rows(width, first):
    # Catches rows of the first part found by the second, in a bucket that both use, and
    # rows that come back filled up since another part's are wider (9: as wide).
    def apply(state, request):
        found = request.past([8])
        assert all(row.tolist() == [8, *range(1, width)] for row in found)
        before = len(found) + np.arange(len(request.raw))
        rows = np.tile(np.array([8, *range(1, width)]), (len(before), 1))
        return request.raw * (1 + before[:, None]), state, rows, {}

    counting = Defence(lambda dim, key: {}, apply)
    near = chained(("near_duplicates",))  # 8: the root of its first tree
    parts = {"near": near, "counting": counting}
    both = chain(parts if first else dict(reversed(parts.items())))
    answers, _ = asked(both, EXAMPLE)
    cut, _ = asked(both, [(name, [row]) for name, rows in EXAMPLE for row in rows])
    same([answer[None] for out in answers for answer in out], cut)


def test_a_part_grows_its_rows():
    # Catches rows of one call cut or filled to the length of another call's.
    def apply(state, request):
        n = int(state["n"])
        assert [row.tolist() for row in request.past([0])] == [
            [0] * (i + 1) for i in range(n)
        ]
        return request.raw, {"n": state["n"] + 1}, np.zeros((1, n + 1), np.int64), {}

    growing = Defence(lambda dim, key: {"n": np.zeros((), np.int64)}, apply)
    asked(chain({"one": growing, "two": growing}), [("a", [i]) for i in range(4)])


def test_images_come_from_the_other_side():
    # Catches the part next to the victim changing images first: a negative made darker
    # is not a darker one's negative.
    plain, seen = DEFENCES["none"](), []
    negative = plain._replace(before=lambda state, images: 255 - images)
    darker = plain._replace(before=lambda state, images: images // 4)

    def look(state, images, gradient):
        seen.append(images)
        return images

    between = plain._replace(before=look, wants=frozenset({"gradient"}))
    both = chain({"negative": negative, "between": between, "darker": darker})
    images = np.arange(0, 250, 7, np.uint8).reshape(1, 6, 6, 1)
    np.testing.assert_array_equal(both.before({}, images, len), 255 - images // 4)
    np.testing.assert_array_equal(seen, [images // 4])


@pytest.mark.parametrize("one", NAMES)
def test_pairs_that_do_not_fit(one):
    # Catches strengths in deviations of numbers that are no longer there.
    for two in set(NAMES) - {one}:
        if (one, two) in PAIRS:
            chained((one, two))
            continue
        with pytest.raises(UserError, match=f"^service.defence: {two!r} is.*first$"):
            chained((one, two))
