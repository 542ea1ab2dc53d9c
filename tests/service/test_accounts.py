"""Terms and accounts: limits, keys and prices."""

import pickle

import pytest

from sslx.service import BudgetExceeded, Counters, read_all_counters, read_counters
from sslx.types import UserError
from tests.service.box import KEYS, opened, pictures


@pytest.mark.parametrize(
    ("kw", "fits", "message"),
    [
        (
            {"image_limit": 6},
            [("a", 5), ("a", 1), ("b", 6)],
            "account 'a' has 0 of 6 images left (image_limit), the call asks 3:",
        ),
        (
            {"call_limit": 2},
            [("a", 1), ("a", 9), ("b", 1), ("b", 2)],
            "account 'a' has 0 of 2 calls left (call_limit), this would be one more:",
        ),
        (
            {"total_image_limit": 10},
            [("b", 2), ("a", 4), ("b", 2)],
            "all accounts have 2 of 10 images left (total_image_limit), "
            "the call asks 3:",
        ),
        (
            {"total_call_limit": 3},
            [("b", 1), ("b", 2), ("a", 3)],
            "all accounts have 0 of 3 calls left (total_call_limit), "
            "this would be one more:",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_limit_refuses_whole(box, kw, fits, message):
    # A limit that nobody looks at, is one account's where it is all accounts', or
    # refuses what still fits; a call that is counted or embedded though it is refused.
    make, path, given = box
    service = make(limit=kw.pop("image_limit", None), **kw)
    for i, (account, n) in enumerate(fits):
        service.query(account, pictures(n, seed=i), str(i))
    before, file, seen = read_all_counters(path), path.read_bytes(), len(given)
    with pytest.raises(BudgetExceeded) as e:
        service.query("a", pictures(3, seed=99), "more")
    assert str(e.value) == f"{message} refused whole, nothing was counted"
    assert (read_all_counters(path), path.read_bytes()) == (before, file)
    assert len(given) == seen == len(fits)
    again = str(pickle.loads(pickle.dumps(e.value)))  # as a pool of processes does
    assert again == str(e.value)
    # What was paid for is still answered.
    service.query(fits[0][0], pictures(fits[0][1], seed=0), "0")
    assert read_all_counters(path) == before


def test_a_total_can_be_reached_exactly(box):
    # `>=` where `>` is meant.
    service = box[0](total_image_limit=10, total_call_limit=2)
    service.query("a", pictures(7))
    service.query("b", pictures(3))
    assert [service.counters(name).images for name in "ab"] == [7, 3]


@pytest.mark.parametrize(
    ("kw", "message"),
    [
        ({"limit": -1}, "^image_limit is -1: write 0 or more, or None for no limit$"),
        ({"total_call_limit": -5}, "^total_call_limit is -5: write 0 or more"),
        ({"price": -0.1}, "^price is -0.1: write USD per image, 0 or more$"),
        ({"price": float("nan")}, "^price is nan"),
        ({"repeats": "none"}, "'none'; known: fresh, memoised$"),
        ({"accounts": {"a": "k", "": "secret"}}, "^an account has no name$"),
        ({"accounts": {"b": "secret", "a": ""}}, "^account 'a' has no key: give it"),
    ],
)
def test_terms_that_cannot_be_kept_make_no_file(tmp_path, kw, message):
    # A file that is refused ever after, because it was made for a slip of the pen.
    path = tmp_path / "a.sqlite"
    with pytest.raises(UserError, match=message) as e:
        opened(path, **kw)
    assert not path.exists() and "secret" not in str(e.value)


# ---- keys


@pytest.mark.parametrize(
    ("account", "key", "message"),
    [
        ("c", "alpha-0123456789", "account 'c' is not known here"),
        ("a", None, "account 'a' needs its api_key"),
        ("a", "alpha-wrong", "this is not the api_key of account 'a'"),
        ("a", KEYS["b"], "this is not the api_key of account 'a'"),
        ("a", "", "this is not the api_key of account 'a'"),
    ],
)
def test_without_its_key_an_account_gets_nothing(box, account, key, message):
    # Answers for whoever knows a name, another account's key accepted, stored answers
    # given away, the key shown to who reads the error, or a refusal that is counted.
    make, path, given = box
    service = make(accounts=KEYS)
    service.query("a", pictures(2), "1", api_key=KEYS["a"])
    before, file = read_all_counters(path), path.read_bytes()
    for call in ("1", "2", None):
        with pytest.raises(UserError) as e:
            service.query(account, pictures(2), call, api_key=key)
        assert str(e.value) == f"{message}: nothing was counted"
    assert (read_all_counters(path), path.read_bytes()) == (before, file)
    assert len(given) == 1


def test_keys_are_not_in_the_file(box):
    # A ledger that is handed on, and with it the keys.
    make, path, _ = box
    make(accounts=KEYS).query("a", pictures(2), api_key=KEYS["a"])
    for key in KEYS.values():
        assert key.encode() not in path.read_bytes()


def test_each_provider_adds_its_account(box):
    # Accounts lost on reopening or known to one process only, budgets that are not
    # shared, a mapping added in part, or an account taken over with another key.
    make, path, _ = box
    terms = {"limit": 9, "total_image_limit": 10}
    one = make(accounts={"a": KEYS["a"]}, **terms)
    other = make(accounts={"b": KEYS["b"]}, **terms)
    one.query("a", pictures(6), api_key=KEYS["a"])
    other.query("b", pictures(3), api_key=KEYS["b"])
    with pytest.raises(BudgetExceeded, match="all accounts have 1 of 10"):
        one.query("a", pictures(2, seed=1), api_key=KEYS["a"])
    with pytest.raises(UserError) as e:
        make(accounts={"c": "gamma-0123456789", "a": "alpha-another"}, **terms)
    assert f"{path} knows account 'a' with another key" in str(e.value)
    assert "alpha" not in str(e.value) and "\n" not in str(e.value)
    again = make(accounts={}, **terms)
    with pytest.raises(UserError, match="'c' is not known"):
        again.query("c", pictures(1), api_key="gamma-0123456789")
    make(accounts=KEYS, **terms)  # known with these keys
    again.query("b", pictures(1), api_key=KEYS["b"])
    assert [again.counters(name).images for name in "abc"] == [6, 4, 0]


def test_a_file_with_keys_is_not_opened_without(box):
    # The keys of all accounts undone by one who names none.
    make, _, _ = box
    make(accounts=KEYS)
    with pytest.raises(UserError, match="made with accounts and keys"):
        make()


# ---- bills


def test_the_bill_of_each_account(box):
    # Unique images charged in place of images, calls priced, a price per account, or
    # accounts that never asked, or asked last, billed in a wrong place.
    make, path, _ = box
    service = make(price=0.1, accounts=KEYS | {"c": "never asks"})
    assert service.accounts() == [] and read_all_counters(path) == {}
    service.query("b", pictures(2), api_key=KEYS["b"])
    service.query("a", pictures(3)[[0, 0, 1]], api_key=KEYS["a"])
    service.query("b", pictures(2), api_key=KEYS["b"])
    bills = {
        "a": Counters(2, 3, 1, 12, None, 0.3),
        "b": Counters(2, 4, 2, 16, None, 0.4),
    }
    assert service.accounts() == list(read_all_counters(path)) == ["a", "b"]
    assert read_all_counters(path) == bills
    assert {name: service.counters(name) for name in "ab"} == bills
    assert read_counters(path, "c") == Counters(0, 0, 0, 0, None, 0.0)


@pytest.mark.parametrize(
    ("price", "images", "usd"), [(1e-7, 3, 3e-7), (0.0015, 7, 0.0105), (2.0, 5, 10.0)]
)
def test_cost_is_as_exact_as_the_price(box, price, images, usd):
    # 0.1 x 3 = 0.30000000000000004, or a small price rounded away.
    service = box[0](price=price)
    service.query("a", pictures(images))
    assert service.counters("a").cost == usd
