"""A file is taken up by the service that made it, and by no other."""

import json
import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sslx.service import Defence, calibrate, make_defence, read_counters
from sslx.service.bills import spent
from sslx.service.database import digest
from sslx.service.opening import reading
from sslx.types import UserError
from tests.service.box import SERVICES, opened, pictures, written
from tests.service.defended import NUMBERS, POOL, embedded, ready

OLD = Path(__file__).parent / "ledgers_0.1.0"


def made(*names, **changed):
    numbers = {n: NUMBERS.get(n, {}) | changed.get(n, {}) for n in names}
    return make_defence(names, numbers)


def without_the_term(path):
    """Makes a file one of before the defence was a term."""
    with closing(sqlite3.connect(path)) as db, db:
        ((content,),) = db.execute("SELECT content FROM header")
        fields = json.loads(content)
        del fields["defence"]
        fields["calibration"] = fields["calibration"] and "of the answers alone"
        old = json.dumps(fields).encode()
        db.execute("UPDATE header SET content = ?, digest = ?", (old, digest(old)))
        db.execute("DROP TABLE totals")


PAIRS = [
    (made("b4b"), made("b4b", b4b={"bits": 3}), "draws=3, .*, not b4b.bits=3, "),
    (made("b4b"), made("b4b", b4b={"draws": 2}), "not b4b.*draws=2"),
    (made("b4b"), made("b4b", b4b={"noise": 2.0}), "not b4b.*noise=2.0"),
    (made("near_duplicates"), made("b4b"), "near_duplicates.similarity=0.5., not b4b"),
    (made("noise"), made("b4b"), "for defence noise.sd=0.5., not b4b"),
    (made("b4b"), made("noise"), "not noise.sd=0.5.;"),
    (made("b4b", "noise"), made("noise", "b4b"), "not noise.sd=0.5.[+]b4b"),
    (made("none"), made("top_k"), "for defence none.., not top_k.k=2.;"),
    (made("top_k"), made("top_k")._replace(called=""), "not one without a name;"),
]


@pytest.mark.parametrize(("one", "other", "message"), PAIRS)
def test_another_defence_is_refused(tmp_path, one, other, message):
    # Coverage of 12 bits read as of 10, noise that starts anew, or a traceback out of
    # another defence's state.
    with closing(ready(tmp_path / "a", one)) as service:
        first = service.query("a", POOL[:5], "1")
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(UserError, match=message) as error:
        ready(tmp_path / "a", other)
    assert "\n" not in str(error.value) and "delete that file" in str(error.value)
    assert (tmp_path / "a").read_bytes() == before
    with closing(ready(tmp_path / "a", one)) as service:
        np.testing.assert_array_equal(service.query("a", POOL[:5], "1"), first)


def test_the_same_numbers_in_another_form_are_the_same(tmp_path):
    # A file refused because its config was written in another order.
    numbers = {"b4b": dict(reversed(NUMBERS["b4b"].items())), "noise": {}}
    ready(tmp_path / "a", made("b4b")).close()
    ready(tmp_path / "a", make_defence(["b4b"], numbers)).close()


def test_changed_code_of_ones_own_is_another_defence(tmp_path, monkeypatch):
    # Answers of two versions of a defence in one file.
    code = "from sslx.service.defences.none import none as mine\n"
    (tmp_path / "own_defence.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    ready(tmp_path / "a", made("own_defence:mine")).close()
    ready(tmp_path / "a", made("own_defence:mine")).close()
    (tmp_path / "own_defence.py").write_text(code + "# changed\n")
    with pytest.raises(UserError, match="for defence own_defence:mine.*, not own_"):
        ready(tmp_path / "a", made("own_defence:mine"))
    # One that lies in no file has a name and no code.
    monkeypatch.delattr(sys.modules["own_defence"], "__file__")
    assert made("own_defence:mine").called == "own_defence:mine()"


def counting(shape):
    def apply(state, request):
        return request.raw, {"n": state["n"] + 1}, None, {}

    return Defence(lambda dim, key: {"n": np.zeros(shape)}, apply)


@pytest.mark.parametrize("other", [counting(3), made("none")._replace(called="")])
def test_a_state_of_another_form_is_refused(tmp_path, other):
    # A traceback, or a state forgotten, where neither defence has a name.
    with closing(opened(tmp_path / "a", defence=counting(()))) as service:
        service.query("a", pictures(2))
    with closing(opened(tmp_path / "a", defence=other)) as service:
        with pytest.raises(UserError, match="of account 'a' is .*of another def") as e:
            service.query("a", pictures(2, seed=1))
        assert "nothing was counted" in str(e.value) and "\n" not in str(e.value)
        service.query("b", pictures(2))
    with closing(opened(tmp_path / "a", defence=counting(()))) as service:
        service.query("a", pictures(2, seed=1))


@pytest.mark.parametrize("name", ["b4b", "near_duplicates", "none"])
def test_a_file_of_before_is_taken_up(tmp_path, name):
    # A file that was paid for and is refused for want of a term that it cannot have.
    for file in ("old", "new"):
        with closing(ready(tmp_path / file, made(name))) as service:
            service.query("a", POOL[:5], "1")
    without_the_term(tmp_path / "old")
    after = []
    for file in ("old", "new"):
        with closing(ready(tmp_path / file, made(name))) as service:
            after.append(service.query("a", POOL[3:], "2"))
    np.testing.assert_array_equal(*after)
    assert read_counters(tmp_path / "old", "a").images == 14


def test_a_file_of_before_has_the_calibration_it_has(tmp_path):
    # A calibration for a file that was made without any.
    ready(tmp_path / "a", made("none")).close()
    without_the_term(tmp_path / "a")
    with pytest.raises(UserError, match="was made with no calibration;"):
        ready(tmp_path / "a", made("round"))


KNOWN = calibrate(embedded(pictures(50, seed=5)))


@pytest.mark.parametrize(
    "other",
    [
        KNOWN._replace(mean=KNOWN.mean + 1),
        KNOWN._replace(deviation=KNOWN.deviation * 2),
        KNOWN._replace(answers=KNOWN.answers[::-1]),
        KNOWN._replace(answers=KNOWN.answers[:25]),
        KNOWN._replace(mean=KNOWN.mean[None]),
    ],
)
def test_another_calibration_is_refused(tmp_path, other):
    # Strengths in other deviations, or about another mean, of the same answers; or the
    # same bytes in another shape.
    ready(tmp_path / "a", made("noise")).close()
    with pytest.raises(UserError, match="made with another calibration;"):
        ready(tmp_path / "a", made("noise"), calibration=other)


@pytest.mark.parametrize("change", [{"secret": bytes(32)}, {"price": 3.0}, {"dim": 5}])
def test_a_file_that_is_refused_is_left_as_it_was(tmp_path, change):
    # An old ledger brought up to date by who may not open it.
    path = tmp_path / "a"
    path.write_bytes((OLD / "memoised.sqlite").read_bytes())
    before = path.read_bytes()
    keyed = Defence(*made("none")[:2], wants={"secret"})
    kw = {"defence": keyed} if "secret" in change else {}
    with pytest.raises(UserError, match="was made "):
        opened(path, limit=40, **kw, **change)
    assert path.read_bytes() == before


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_a_new_file_is_its_owners_alone(tmp_path, umask):
    # Keys of accounts that anybody on the machine can read.
    before = os.umask(umask)
    try:
        written(tmp_path / "a")
        (tmp_path / "b").touch(0o640)
        written(tmp_path / "b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes == [0o600, 0o640 & ~umask]  # of who made it


# ---- running totals


@pytest.mark.parametrize(("name", "kw"), [("memoised", SERVICES[0]), ("", SERVICES[0])])
def test_totals_are_those_of_the_calls(tmp_path, name, kw):
    # A budget that begins anew in a file of before, or counts other than the bill.
    path = tmp_path / "a"
    if name:
        path.write_bytes((OLD / f"{name}.sqlite").read_bytes())
    else:
        written(path)
    for i in range(3):
        with closing(opened(path, limit=40, **kw)) as service:
            service.query("b", pictures(2 + i, seed=i), f"new {i}")
            service.query("c", pictures(1), f"new {i}")
        with reading(path) as ledger:
            (a, every), (b, _), (c, _) = (spent(ledger, x) for x in "abc")
            nobody = spent(ledger, "nobody")[0]
        assert (a, c, nobody) == ((24, 4), (i + 1, i + 1), (0, 0))
        assert b == (3 + sum(range(2, 3 + i)), 2 + i)
        assert every == tuple(map(sum, zip(a, b, c, strict=True)))
        assert read_counters(path, "b").images == b.images


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM totals WHERE account = x'61'",
        "DELETE FROM totals WHERE account = x''",
        "UPDATE totals SET spent = zeroblob(16)",
        "INSERT INTO totals SELECT x'7a', spent, digest FROM totals LIMIT 1",
    ],
)
def test_totals_that_are_not_those_of_the_calls_are_found(tmp_path, change):
    # A budget won back by whoever deletes a row.
    path = tmp_path / "a"
    written(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    with pytest.raises(UserError, match="is damaged .* total"):
        opened(path, limit=40)


def steps(path, calls):
    """Steps of sqlite's machine that the check of a budget takes."""
    service = opened(path)
    for i in range(calls):
        service.query("a", POOL[:1], str(i))
    service.close()
    taken = [0]

    def step():
        taken[0] += 1

    with reading(path) as ledger:
        ledger.db.set_progress_handler(step, 1)
        spent(ledger, "a")
        ledger.db.set_progress_handler(None, 1)
    return taken[0]


def test_a_budget_is_checked_as_fast_after_any_past(tmp_path):
    # A sum over all calls before each call.
    few, many = (steps(tmp_path / str(n), n) for n in (5, 40))
    assert many <= few + 5
