import numpy as np
import pytest

from sslx.queries.plan import images_of, make_plan, shares
from sslx.types import UserError


@pytest.mark.parametrize(
    ("images", "rounds", "expected"),
    [(10, 3, [4, 3, 3]), (9, 3, [3, 3, 3]), (7, 1, [7]), (3, 3, [1, 1, 1])],
)
def test_shares(images, rounds, expected):
    # Catches images lost to rounding.
    assert shares(images, rounds) == expected


@pytest.mark.parametrize("rounds", [0, -1, 4])
def test_no_empty_round(rounds):
    # Catches a round that asks nothing.
    with pytest.raises(UserError, match="write 1 to 3 rounds"):
        shares(3, rounds)


def plan(**changes):
    own = {"queries": 20, "views": 2, "rounds": 3, "accounts": 2, "call_size": 5}
    return make_plan(own | changes)


def test_every_query_is_in_one_call():
    # Catches a view that is asked twice or never, a call beyond its size or across two
    # rounds, two calls of one name.
    found = plan()
    assert found.views == 2 and [r.images for r in found.rounds] == [4, 3, 3]
    sizes = [[len(call.queries) for call in r.calls] for r in found.rounds]
    assert sizes == [[5, 3], [5, 1], [5, 1]]
    queries = np.concatenate([call.queries for call in found.calls])
    assert np.array_equal(queries, np.arange(20))
    names = [call.name for call in found.calls]
    assert len(set(names)) == 6 and names == sorted(names)


def test_accounts_take_turns_over_all_rounds():
    # Catches a turn that starts anew each round, whose first account pays for more.
    turns = [call.account for call in plan(accounts=4).calls]  # two a round
    assert turns == [f"attacker{i}" for i in (1, 2, 3, 4, 1, 2)]
    assert plan().accounts == ["attacker1", "attacker2"]
    assert plan(accounts=1).accounts == ["attacker"]
    assert {call.account for call in plan(accounts=1).calls} == {"attacker"}


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"anchors": 3}, 7),  # 20 sent: 10 of two views, 3 of them again
        ({"anchors": 2, "accounts": 3, "rounds": 1}, 6),
        ({"anchors": 1, "views": 1, "accounts": 4}, 17),
    ],
)
def test_anchors_are_asked_by_every_account(changes, images):
    # Catches anchors that are not paid for, an account without them, an image that is
    # no anchor asked twice, a call of another round.
    own = {"queries": 20, "views": 2, "rounds": 3, "accounts": 2, "call_size": 5}
    own |= changes
    found = make_plan(own)
    assert images_of(own) == images == sum(r.images for r in found.rounds)
    queries = np.concatenate([call.queries for call in found.calls])
    assert len(queries) == own["queries"]
    times = np.bincount(queries, minlength=images * own["views"])
    first = own["anchors"] * own["views"]
    assert (times[:first] == own["accounts"]).all() and (times[first:] == 1).all()
    for account in found.accounts:
        asked = [c.queries for c in found.calls if c.account == account]
        assert set(range(first)) <= set(np.concatenate(asked))
