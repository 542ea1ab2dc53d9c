"""What is made of accounts' keys once, for as many accounts as there is room for."""

import numpy as np
import pytest

from sslx.service import make_defence
from sslx.service.defences import kept as module
from sslx.service.defences.kept import NAME, Shelf, kept
from tests.service.defended import NUMBERS, key_of, request_of

RAW = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
NAMES = ["near_duplicates", "project", "coverage_ratio", "b4b"]


@pytest.mark.parametrize("accounts", [9, 17, 64])
@pytest.mark.parametrize("name", NAMES)
def test_accounts_that_take_turns_are_drawn_for_once(monkeypatch, name, accounts):
    # Room for eight: the ninth account of a busy service pays in every call.
    numbers = {name: NUMBERS[name]}
    if name == "b4b":
        numbers[name] = numbers[name] | {"transform": "dense"}
    defence, made = make_defence([name], numbers), []
    shelf = Shelf(2**28)
    monkeypatch.setattr(module, "SHELF", shelf)
    for _ in range(3):
        for i in range(accounts):
            defence.apply(defence.init(32, key_of(i)), request_of(RAW))
        made.append(len(shelf.known))
    assert made == [accounts * (2 if name == "b4b" else 1)] * 3


@pytest.mark.parametrize("room", [1, 3, 8])
def test_what_was_used_longest_ago_goes_first(monkeypatch, room):
    # Room by numbers of arrays and not by their bytes, none for one that is too large,
    # what is used most thrown out, a sum of bytes that never falls.
    each = 80 + NAME
    monkeypatch.setattr(module, "SHELF", shelf := Shelf(each * room))
    made = []

    @kept
    def ten(key, *, factor=1):
        made.append(key)
        return np.full(5, factor * key), np.zeros(5)

    for key in range(room):
        ten(key)
    ten(0)
    assert made == list(range(room)) and shelf.held == each * room
    ten(room)  # in place of 1
    ten(0)
    assert made == [*range(room + 1), *([0] if room == 1 else [])]
    for key in range(100, 200):
        assert ten(key)[0][0] == key
    assert shelf.held == each * room and len(shelf.known) == room
    assert ten(199, factor=2)[0][0] == 398  # other keywords, another array
    size = each * room + 8

    @kept
    def large(key):
        made.append(key)
        return np.zeros((size - NAME) // 8)

    assert len({id(large(7)) for _ in range(3)}) == 1
    assert shelf.held == size and made[-1] == 7 and made.count(7) == (room > 7) + 1


def test_what_has_no_arrays_goes_too(monkeypatch):
    # Accounts without a transform that pile up for ever, as they weigh nothing.
    monkeypatch.setattr(module, "SHELF", shelf := Shelf(10 * NAME))
    nothing = kept(lambda key: ())
    for key in range(40):
        assert nothing(key) == ()
    assert len(shelf.known) == 10


def test_two_functions_do_not_mix():
    # Planes of one defence taken for those of another, of the same key and width.
    one, two = kept(lambda key: np.zeros(2)), kept(lambda key: np.ones(2))
    assert one(b"a").sum() == 0 and two(b"a").sum() == 2 and one(b"a").sum() == 0


def test_a_failure_is_not_kept():
    # A lock that is held for ever, or an error that comes back without its cause.
    tries = []

    @kept
    def fails(key):
        tries.append(key)
        raise ValueError(key)

    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            fails("a")
    assert tries == ["a", "a"]
