"""Traffic from files, and what of it is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sslx.service import read_asked, readers
from sslx.service.detectors import read_traffic
from sslx.service.ledger import image_hash
from sslx.service.opening import reading
from sslx.types import UserError
from tests.service.box import DIM, embedded, opened, pictures

OLD = Path(__file__).parents[1] / "ledgers_0.1.0"
ROWS = [("b", 3, [1.0, 2.0]), ("a", 1, [3.0, 4.0]), ("b", 3, [5.0, 6.0])]


def as_npz(path, **changed):
    account, time, features = zip(*ROWS, strict=True)
    arrays = {
        "account": np.array(account),
        "time": np.array(time),
        "features": np.array(features),
    } | changed
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def line(account="a", time=1, features=(1.0, 2.0), **more):
    return json.dumps({"account": account, "time": time, "features": features, **more})


def as_lines(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_both_forms_say_the_same(tmp_path):
    # Catches rows of one account in another's, an order that is not kept, other
    # columns taken for missing ones.
    one = read_traffic(as_npz(tmp_path / "t.npz", more=np.zeros(2)))
    lines = [line(*row, ip="1.2.3.4") for row in ROWS]
    two = read_traffic(as_lines(tmp_path / "t.jsonl", *lines[:1], "", *lines[1:]))
    for streams in (one, two):
        assert [s.account for s in streams] == ["a", "b"]
        assert [s.times.tolist() for s in streams] == [[1.0], [3.0, 3.0]]
        assert streams[1].features.tolist() == [[1, 2], [5, 6]]
        assert streams[1].features.dtype == np.float32
    for account in (np.array([2, 1, 2]), np.array([b"2", b"1", b"2"])):
        streams = read_traffic(as_npz(tmp_path / "n.npz", account=account))
        assert [(s.account, len(s.times)) for s in streams] == [("1", 1), ("2", 2)]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"account": None}, "lacks account; traffic is account, time and features"),
        ({"time": None}, "lacks time; traffic"),
        ({"features": None, "time": None}, "lacks time, features; traffic"),
        ({"account": np.array(["a", "b"])}, r"account has the shape \(2,\), where 3 "),
        ({"time": np.zeros((3, 1))}, r"time has the shape \(3, 1\), where 3 features"),
        ({"features": np.zeros((4, 2))}, r"account has the shape \(3,\), where 4 "),
        ({"features": np.zeros(3)}, r"features have the shape \(3,\), not \(n, d\)"),
        ({"features": np.zeros((3, 0))}, r"features have the shape \(3, 0\)"),
        ({"features": np.zeros((3, 2, 2))}, r"features have the shape \(3, 2, 2\)"),
        ({"time": np.array([3, 1, 2])}, "account 'b' goes back in time in row 2; sort"),
        (
            {"account": np.array(["a"] * 3), "time": np.array([0, 0, -1e-9])},
            "account 'a' goes back in time in row 2",
        ),
        (
            {"account": np.array([7, 7, 7]), "time": np.array([2, 1, 3])},
            "account '7' goes back in time in row 1",
        ),
        ({"time": np.array([NAN, 1, 3])}, "time of row 0 are not finite numbers"),
        ({"features": np.array([[0, 1], [2, INF], [0, 1]])}, "features of row 1 are"),
        ({"features": np.array([[0, 1], [2, 3], [1e39, 1]])}, "features of row 2 are"),
        ({"features": np.array([["a", "b"]] * 3)}, "features are <U1, not numbers"),
        ({"time": np.array(["1", "2", "3"])}, "time are <U1, not numbers"),
        ({"time": np.array([True] * 3)}, "time are bool, not numbers"),
        ({"account": np.array([0.5, 1, 2])}, "account is float64, neither text"),
        ({"account": np.array(["a", "", "b"])}, "row 1 has an account without name"),
        ({"account": np.array(["a", 1, "b"], object)}, "holds Python objects"),
        (
            {k: np.zeros((0, *w)) for k, w in (("time", ()), ("features", (2,)))}
            | {"account": np.array([], str)},
            "holds no queries",
        ),
    ],
)
def test_arrays_that_are_refused(tmp_path, changed, says):
    # Catches a traceback, rows that are silently dropped, a row that is not named.
    path = as_npz(tmp_path / "t.npz", **changed)
    with pytest.raises(UserError, match=says) as error:
        read_traffic(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"account": "a"}'], "line 1 lacks time, features; traffic is"),
        ([line(), '{"time": 1, "features": [1]}'], "line 2 lacks account"),
        ([line(), "", '{"account": "a", "time": 1}'], "line 3 lacks features"),
        ([line(), line(features=[1.0])], "line 2 has 1 features, those before have 2"),
        ([line(), line(), line(features=[1, 2, 3])], "line 3 has 3 features"),
        ([line(features=[1]), line("b")], "line 2 has 2 features, those before have 1"),
        ([line(time=2), line()], "account 'a' goes back in time in row 1"),
        ([line("b", 9), line(time=2), line()], "account 'a' goes back in time in row"),
        ([line(time=-1), line(time=-1.5)], "account 'a' goes back in time in row 1"),
        ([line(time=NAN)], "line 1: time are not finite numbers"),
        ([line(features=[1.0, INF])], "line 1: features are not finite numbers"),
        ([line(), line(features=[10**40, 1])], "line 2: features are not finite"),
        ([line(features=["1", "2"])], "line 1: features are not finite numbers"),
        ([line(features=[True, 1])], "line 1: features are not finite numbers"),
        ([line(features=[[1], [2]])], "line 1: features are not finite numbers"),
        ([line(features=[])], "line 1: features are no list of numbers"),
        ([line(features="12")], "line 1: features are no list of numbers"),
        ([line(time=None)], "line 1: time are not finite numbers"),
        ([line(account="")], "line 1: account is '', neither a text nor a whole"),
        ([line(account=None)], "line 1: account is None, neither"),
        ([line(account=[1])], r"line 1: account is \[1\], neither"),
        (["account,time"], "line 1 is no JSON: account,time"),
        ([line(), "{"], "line 2 is no JSON"),
        (["[1, 2]"], "line 1 is no JSON object"),
        (["3"], "line 1 is no JSON object"),
    ],
)
def test_lines_that_are_refused(tmp_path, lines, says):
    # Catches the same in lines of JSON, the number of the line being wrong.
    path = as_lines(tmp_path / "t.jsonl", *lines)
    with pytest.raises(UserError, match=says) as error:
        read_traffic(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; traffic is"),
        (b"\n \n\n", "holds no queries"),
        (b"PK\x03\x04 and nothing of it", r"is damaged"),
        (b"\x93NUMPY\x01\x00", "is a single array, a .npy file"),
        (b"\xff\xfe\x00{", "is no text in UTF-8"),
        (b"SQLite format 3\x00" + bytes(100), "is damaged"),
        (None, "No such file"),
    ],
)
def test_files_that_are_refused(tmp_path, content, says):
    # Catches the traceback of a library.
    path = tmp_path / "t"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        read_traffic(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("repeats", ["memoised", "fresh"])
def test_a_ledger_in_the_order_asked(tmp_path, repeats):
    # Catches calls in the order of their names, streams without repeated images, and
    # accounts that are not in one time.
    x = pictures(9)
    calls = [
        ("a", "9", x[:3]),
        ("b", "5", x[:2]),
        ("a", "10", x[3:5]),
        ("b", "1", x[4:6]),
        ("a", "2", x[[5, 5, 0]]),
        ("a", "0", x[6:7]),
    ]
    service = opened(tmp_path / "ledger.sqlite", repeats=repeats)
    for account, call, images in calls:
        service.query(account, images, call)
    service.close()
    streams = {s.account: s for s in read_traffic(tmp_path)}  # a run's folder
    for name, numbers in (("a", [0, 0, 0, 2, 2, 4, 4, 4, 5]), ("b", [1, 1, 3, 3])):
        images = np.concatenate([i for account, _, i in calls if account == name])
        assert streams[name].times.tolist() == numbers
        np.testing.assert_allclose(streams[name].features, embedded(images), rtol=1e-5)
    assert streams["a"].features.shape == (9, DIM)


def test_calls_that_brought_no_answer(tmp_path):
    # Catches such a call before the one that its answers came from.
    x = pictures(4)
    service = opened(tmp_path / "a.sqlite")
    for call, images in (("z", x[:3]), ("a", x[2:3]), ("m", x[:3]), ("b", x[3:])):
        service.query("a", images, call)
    service.close()
    numbers, answers = read_asked(tmp_path / "a.sqlite")["a"]
    assert numbers.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    np.testing.assert_allclose(answers[:3], embedded(x[:3]), rtol=1e-5)
    # "m" has more images than "a", so it is "m" that may have brought them.
    np.testing.assert_allclose(answers[3:6], embedded(x[:3]), rtol=1e-5)
    np.testing.assert_allclose(answers[6:], embedded(x[2:]), rtol=1e-5)


def asked_as_read(path, calls):
    """Checks an order that was read: by it, what is stored was brought as it lies."""
    with reading(path) as ledger:
        read = readers._in_order(ledger)
        query = "SELECT account, id FROM answers ORDER BY rowid"
        stored = [(a.decode(), id) for a, id in ledger.db.execute(query)]
    assert sorted(read) == sorted((account, call) for account, call, _ in calls)
    images = {(account, call): x for account, call, x in calls}
    brought = {}
    for account, call in read:
        hashes = [(account, image_hash(x)) for x in images[account, call]]
        brought |= dict.fromkeys(hashes)
    assert [*brought] == stored
    return read


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_random_ledgers(tmp_path, seed):
    # Catches a call that brought nothing before one that brought its answers; a call
    # taken for who brought what it asks in another order, or of another account.
    random, pool = np.random.default_rng(seed), pictures(9)
    names = random.permutation(14)
    calls = [
        (random.choice(["a", "b"]), str(name), pool[random.integers(0, 9, n)])
        for name, n in zip(names, random.integers(1, 5, 14), strict=True)
    ]
    service = opened(tmp_path / "a")
    for account, call, images in calls:
        service.query(account, images, call)
    service.close()
    asked_as_read(tmp_path / "a", calls)


@pytest.mark.parametrize(
    ("calls", "order"),
    [
        ([("2", [5, 7, 4]), ("5", [7, 5])], "25"),
        ([("2", [5, 7, 4]), ("1", [4]), ("3", [6])], "213"),
        ([("9", [0, 1]), ("8", [2, 3]), ("1", [0]), ("2", [3, 2])], "9182"),
        ([("9", [0, 1]), ("8", [2, 1, 3]), ("1", [1, 3, 2, 0])], "981"),
        ([("9", [0, 0, 1]), ("8", [1, 0]), ("1", [2, 0, 1])], "981"),
    ],
)
def test_the_order_of_calls_that_brought_nothing(tmp_path, calls, order):
    # As above, where the order is known.
    pool = pictures(9)
    calls = [("a", call, pool[rows]) for call, rows in calls]
    service = opened(tmp_path / "a")
    for account, call, images in calls:
        service.query(account, images, call)
    service.close()
    read = asked_as_read(tmp_path / "a", calls)
    assert "".join(call for _, call in read) == order


@pytest.mark.parametrize("name", ["memoised", "fresh"])
def test_ledgers_of_before(tmp_path, name):
    # Catches a file of version 0.1.0 that cannot be read, or that is written to.
    path = tmp_path / "old.sqlite"
    shutil.copy(OLD / f"{name}.sqlite", path)
    before = path.read_bytes()
    assert all(len(s.times) == len(s.features) for s in read_traffic(path))
    assert path.read_bytes() == before


def test_a_ledger_that_nobody_asked(tmp_path):
    # Catches an empty table in place of a line.
    opened(tmp_path / "a.sqlite").close()
    with pytest.raises(UserError, match="holds no queries: nothing was asked there"):
        read_traffic(tmp_path / "a.sqlite")
