"""The black box: what it counts, refuses and remembers."""

import io
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from sslx.service import (
    BudgetExceeded,
    Counters,
    Defence,
    answering,
    read_answers,
    read_counters,
    read_notes,
)
from sslx.service.database import digest
from sslx.service.ledger import find_state
from sslx.service.opening import reading
from sslx.types import UserError
from tests.service.box import DIM, embedded, opened, pictures


def test_counts_each_image_call_and_value(box):
    # Unique images counted as images, calls as images, values without the dim.
    service, _, _ = box[0](limit=50), *box[1:]
    assert service.counters("a") == Counters(0, 0, 0, 0, 50)
    x = pictures(5)
    service.query("a", x, "1")
    service.query("a", x[:3], "2")
    service.query("a", pictures(2, seed=1))
    service.query("a", x[:1])
    assert service.counters("a") == Counters(7, 11, 4, 44, 50)
    assert read_counters(box[1], "a") == Counters(7, 11, 4, 44, 50)
    assert read_counters(box[1], "nobody") == Counters(0, 0, 0, 0, 50)


def test_answers_are_the_victims_in_the_order_asked(box):
    # Answers handed out in the order of the store, or of the images' first appearance.
    make, path, _ = box
    service, x = make(), pictures(6)
    mixed = x[[4, 0, 4, 2]]
    got = service.query("a", mixed, "1")
    assert got.dtype == np.float32 and got.shape == (4, DIM)
    np.testing.assert_array_equal(got, embedded(x)[[4, 0, 4, 2]])
    np.testing.assert_array_equal(service.query("a", x, "2"), embedded(x))
    asked = np.concatenate([x, mixed])
    stored = read_answers(path, "a", ["2", "1"], asked)
    np.testing.assert_array_equal(stored, embedded(asked))


def test_answers_go_with_the_images_they_were_given_for(box):
    # A data set whose rows have changed places: answers paired with other images.
    make, path, _ = box
    x = pictures(4)
    make().query("a", x, "1")
    for others in (x[::-1], x[:3], np.concatenate([x, x[:1]])):
        with pytest.raises(UserError, match="answers to other images than these"):
            read_answers(path, "a", ["1"], others)


def test_over_the_limit_is_refused_whole(box):
    # A call answered in part, counted though refused, or paid for with the victim.
    make, path, given = box
    service = make(limit=10)
    service.query("a", pictures(7), "1")
    before, files = service.counters("a"), path.read_bytes()
    with pytest.raises(BudgetExceeded, match="'a' has 3 of 10 images left.* 4:") as e:
        service.query("a", pictures(4, seed=1), "2")
    assert (e.value.left, e.value.asked) == (3, 4)
    assert "\n" not in str(e.value)
    with pytest.raises(BudgetExceeded):  # images seen before are queries as well
        service.query("a", pictures(4), "3")
    assert service.counters("a") == before and len(given) == 1
    assert path.read_bytes() == files


def test_the_limit_can_be_reached_exactly(box):
    # `>=` where `>` is meant, only unique images held against the limit, and an id
    # asked again refused for lack of budget.
    make, _, _ = box
    service = make(limit=10)
    service.query("a", pictures(7), "1")
    service.query("a", pictures(3), "2")
    assert service.counters("a").images == 10
    service.query("a", pictures(7), "1")
    with pytest.raises(BudgetExceeded, match="has 0 of 10"):
        service.query("a", pictures(1))


def test_the_same_id_counts_nothing(box):
    # A call taken up after a kill paid a second time.
    make, _, given = box
    first = make().query("a", pictures(5), "1")
    service = make()
    before = service.counters("a")
    np.testing.assert_array_equal(service.query("a", pictures(5), "1"), first)
    assert service.counters("a") == before and len(given) == 1


def test_the_same_id_with_other_images_is_an_error(box):
    # Answers to other images than those sent; a subset and another order are others.
    make, _, given = box
    service, x = make(), pictures(5)
    service.query("a", x, "1")
    for other in (pictures(5, seed=1), x[:4], x[::-1]):
        with pytest.raises(UserError, match="'1' of account 'a' asked other images"):
            service.query("a", other, "1")
    assert service.counters("a").calls == 1 and len(given) == 1


def test_a_repeated_image_reaches_the_victim_once(box):
    # The victim asked again for what is stored, or given its images in another order.
    make, _, given = box
    service, x = make(), pictures(5)
    service.query("a", x[[3, 1, 3, 3]])
    service.query("a", x[[1, 4, 0, 4]])
    service.query("a", x[[0, 3]])
    assert len(given) == 2
    np.testing.assert_array_equal(given[0], x[[3, 1]])
    np.testing.assert_array_equal(given[1], x[[4, 0]])
    assert service.counters("a") == Counters(4, 10, 3, 40, None)


def test_accounts_are_separate(box):
    # One account living on another's budget, ids or answers.
    make, path, given = box
    service, x = make(limit=6), pictures(5)
    service.query("a", x, "1")
    service.query("b", x[:4], "1")
    assert service.counters("a") == Counters(5, 5, 1, 20, 6)
    assert service.counters("b") == Counters(4, 4, 1, 16, 6)
    assert [len(batch) for batch in given] == [5, 4]
    with pytest.raises(UserError, match="no call '2' of account 'b'"):
        read_answers(path, "b", ["1", "2"], x)


def _numbered(state, request):
    """Adds to each new answer how many the account was given before it."""
    rank = state["given"] + np.arange(len(request.raw), dtype=np.float32)
    noise = [np.random.default_rng(key).normal(size=DIM) for key in request.keys]
    state["given"] += len(rank)  # in place: a restored state can be written to
    return request.raw + 1000 * rank[:, None] + np.stack(noise), state, None, {}


NUMBERED = Defence(
    lambda dim, key: {"given": np.zeros((), np.float32)}, _numbered, wants={"secret"}
)
SECRET = bytes(range(32))


@pytest.mark.parametrize(
    ("repeats", "ranks"),
    [
        ("memoised", [[0, 1, 2], [0, 1], [1, 2, 3, 4], [0, 1], [4, 5, 6, 7, 8]]),
        ("fresh", [[0, 1, 2], [0, 1], [3, 4, 5, 6], [7, 8], [9, 10, 11, 12, 13]]),
    ],
)
def test_a_defence_goes_on_where_it_was(tmp_path, repeats, ranks):
    # State or key lost on reopening, shared by accounts, or moved by what is stored.
    x = pictures(9)
    calls = [("a", x[:3]), ("b", x[:2]), ("a", x[1:5]), ("a", x[:2]), ("a", x[4:])]

    def run(path, reopen):
        kw = {"defence": NUMBERED, "secret": SECRET, "repeats": repeats}
        service, out = opened(path, **kw), []
        for i, (account, images) in enumerate(calls):
            if reopen:
                service.close()
                service = opened(path, **kw)
            out.append(service.query(account, images, str(i)))
        again = service.query("a", x[:3], "0")
        service.close()
        np.testing.assert_array_equal(again, out[0])
        return out

    plain, taken_up = run(tmp_path / "p", False), run(tmp_path / "r", True)
    for one, other in zip(plain, taken_up, strict=True):
        np.testing.assert_array_equal(one, other)
    for out, (_, images), rank in zip(plain, calls, ranks, strict=True):
        got = np.round((out - embedded(images)).mean(1) / 1000)
        np.testing.assert_array_equal(got, rank)


def test_a_failed_call_leaves_nothing(tmp_path):
    # A defence's state moved, or images counted, by a call that was not answered.
    def flaky(images):
        return embedded(images) * (np.nan if images[0, 0, 0, 0] == 7 else 1)

    x = pictures(6)
    x[:, 0, 0, 0] = 9
    bad = x[3:].copy()
    bad[:, 0, 0, 0] = 7
    kw = {"defence": NUMBERED, "secret": SECRET}
    calm = opened(tmp_path / "calm", **kw)
    service = opened(tmp_path / "a", flaky, **kw)
    for one in (calm, service):
        one.query("a", x[:2])
    with pytest.raises(UserError, match="the victim answered 3 of 3 .* not finite"):
        service.query("a", bad)
    assert service.counters("a") == Counters(2, 2, 1, 8, None)
    got, expected = service.query("a", x[2:]), calm.query("a", x[2:])
    np.testing.assert_array_equal(got, expected)
    calm.close(), service.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:, :2], r"the defence answered with shape \(3, 2\) instead of"),
        (lambda a: a[:2], r"shape \(2, 4\) instead of \(3, 4\)"),
        (lambda a: a.astype(np.float64) * 1e300, "3 of 3 images .* not finite"),
    ],
)
def test_a_defence_that_spoils_answers_is_caught(tmp_path, change, message):
    # Rows lost, and float64 answers that overflow once they are stored in float32.
    spoil = Defence(lambda dim, key: {}, lambda s, r: (change(r.raw), s, None, {}))
    service = opened(tmp_path / "a", defence=spoil)
    with pytest.raises(UserError, match=message):
        service.query("a", pictures(3))
    assert service.counters("a").images == 0
    service.close()


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (pictures(2).astype(np.float32), "got float32"),
        (pictures(2)[0], r"got shape \(2, 3, 1\)"),
        (pictures(2).reshape(2, 3, 2, 1), r"got shape \(2, 3, 2, 1\)"),
        (pictures(0), r"got shape \(0, 2, 3, 1\)"),
    ],
)
def test_images_of_another_kind_are_refused(box, images, got):
    # Floats in 0..1 embedded as bytes, one image without its batch, an empty call.
    make, _, given = box
    service = make()
    wanted = r"^expected uint8 images of shape \(n, 2, 3, 1\), n at least 1; "
    with pytest.raises(UserError, match=wanted + got + "$"):
        service.query("a", images)
    assert not given and service.counters("a").calls == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 5}, "was made for dim 4, not 5"),
        ({"image_shape": (2, 3, 3)}, r"image_shape \(2, 3, 1\), not \(2, 3, 3\)"),
        ({"limit": 9}, "image_limit None, not 9"),
        ({"call_limit": 9}, "call_limit None, not 9"),
        ({"total_image_limit": 9}, "total_image_limit None, not 9"),
        ({"total_call_limit": 0}, "total_call_limit None, not 0"),
        ({"price": 0.5}, "price 0.0, not 0.5"),
        ({"repeats": "fresh"}, "repeats memoised, not fresh"),
        ({"accounts": {}}, "made without accounts and keys; give None"),
    ],
)
def test_a_file_made_for_another_service_is_refused(box, change, message):
    # Answers of another victim, or a bill run up under another limit, taken for ours.
    make, path, _ = box
    make().query("a", pictures(2))
    with pytest.raises(UserError, match=message) as e:
        make(**change)
    assert str(path) in str(e.value) and "\n" not in str(e.value)


def test_reading_makes_no_file(tmp_path):
    # An empty ledger left behind by a stealer that was pointed to the wrong folder.
    path = tmp_path / "none.sqlite"
    none = pictures(1)[:0]
    for read in (
        lambda: read_answers(path, "a", [], none),
        lambda: read_counters(path, "a"),
    ):
        with pytest.raises(UserError, match=f"no answers at {path}"):
            read()
    path.touch()  # made, and killed before its tables
    with pytest.raises(UserError, match=f"{path} is damaged"):
        read_counters(path, "a")
    assert path.stat().st_size == 0 and list(tmp_path.iterdir()) == [path]


HALF = "\ud800"


@pytest.mark.parametrize(
    ("account", "call", "message"),
    [
        (HALF, "1", "^an account's name has half a character in it: '.ud800'$"),
        (f"a{HALF}", "1", "^an account's name has half a character"),
        ("a", f"1{HALF}2", "^a call's id has half a character in it: '1.ud8002'$"),
        ("", "1", "^an account's name is a text, not ''$"),
    ],
)
def test_odd_names_are_told_in_one_line(box, account, call, message):
    # A traceback out of the encoding of a name.
    make, path, given = box
    service = make()
    acts = [
        lambda: service.query(account, pictures(2), call),
        lambda: read_answers(path, account, [call], pictures(2)),
        lambda: read_notes(path, account, [call]),
    ]
    if "account" in message:
        acts += [
            lambda: service.counters(account),
            lambda: read_counters(path, account),
        ]
        acts += [lambda: make(accounts={account: "key"})] if account else []
    for act in acts:
        with pytest.raises(UserError, match=message) as error:
            act()
        assert "\n" not in str(error.value) and error.value.args[0].isprintable()
    assert not given and service.accounts() == []


def test_half_a_character_in_a_key_is_a_key_like_any(box):
    # A traceback for whoever sends one.
    service = box[0](accounts={"a": "key", "b": HALF})
    with pytest.raises(UserError, match="^this is not the api_key of account 'a'"):
        service.query("a", pictures(1), api_key=HALF)
    service.query("b", pictures(1), api_key=HALF)


NAMES = ["file", "args", "allow_pickle", "arr_0", "=", "=a", "a/b", "a.npy", "é"]


@pytest.mark.parametrize("old", [False, True])
def test_a_state_may_have_any_names(tmp_path, old):
    # An array of the name of an argument of savez: a crash, or a state lost; a state
    # that was saved under plain names and is not found again.
    def apply(state, request):
        return request.raw, {k: v + 1 for k, v in state.items()}, None, {}

    names = ["n", "occupied", "b4b.key"] if old else NAMES
    zeros = {name: np.full(2, i) for i, name in enumerate(names)}
    keep = Defence(lambda dim, key: zeros, apply)
    for i in range(3):
        with closing(opened(tmp_path / "a", defence=keep)) as service:
            service.query("a", pictures(1, seed=i))
        with reading(tmp_path / "a") as ledger:
            saved = find_state(ledger, "a")
        found = answering._unpack(saved)
        assert {k: v.tolist() for k, v in found.items()} == {
            name: [n + 1 + i] * 2 for n, name in enumerate(names)
        }
        if old:
            packed = io.BytesIO()
            np.savez(packed, **found)
            row = b"a", packed.getvalue()
            with closing(sqlite3.connect(tmp_path / "a")) as db, db:
                db.execute(
                    "UPDATE states SET state = ?, digest = ?", (row[1], digest(*row))
                )
