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


def test_parts_do_not_find_each_others_rows():
    # Catches rows of the first part found by the second, in a bucket that both use.
    def apply(state, request):
        before = len(request.past([8])) + np.arange(len(request.raw))
        rows = np.array([[8, 0, 0]] * len(before), np.int64)
        return request.raw * (1 + before[:, None]), state, rows, {}

    counting = Defence(lambda dim, key: {}, apply)
    near = chained(("near_duplicates",))  # 8: the root of its first tree
    both = chain({"near": near, "counting": counting})
    answers, _ = asked(both, EXAMPLE)
    cut, _ = asked(both, [(name, [row]) for name, rows in EXAMPLE for row in rows])
    same([answer[None] for out in answers for answer in out], cut)


@pytest.mark.parametrize("one", NAMES)
def test_pairs_that_do_not_fit(one):
    # Catches strengths in deviations of numbers that are no longer there.
    for two in set(NAMES) - {one}:
        if (one, two) in PAIRS:
            chained((one, two))
            continue
        with pytest.raises(UserError, match=f"^service.defence: {two!r} is.*first$"):
            chained((one, two))
