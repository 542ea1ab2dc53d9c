"""The black box: what it counts, refuses, remembers and survives."""

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from sslx.service import (
    DEFENCES,
    BudgetExceeded,
    Counters,
    Defence,
    database,
    read_answers,
    read_counters,
    serve,
)
from sslx.types import UserError

SHAPE, DIM = (2, 3, 1), 4
WEIGHTS = np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32)


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), np.uint8)


def embedded(images):
    return images.reshape(len(images), -1).astype(np.float32) @ WEIGHTS


def opened(path, embed=embedded, limit=None, defence=DEFENCES["none"], key=None, **kw):
    kw = {"image_shape": SHAPE, "dim": DIM} | kw
    return serve(path, embed, image_limit=limit, defence=defence, key=key, **kw)


@pytest.fixture
def box(tmp_path):
    """A service, its path, and the batches that the victim was given."""
    given = []

    def embed(images):
        given.append(images.copy())
        return embedded(images)

    services = []

    def make(**kw):
        services.append(opened(tmp_path / "a.sqlite", embed, **kw))
        return services[-1]

    yield make, tmp_path / "a.sqlite", given
    for service in services:
        service.close()


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


def _numbered(state, images, answers, key):
    """Adds to each new answer how many the account was given before it."""
    rank = state["given"] + np.arange(len(answers), dtype=np.float32)
    noise = np.asarray(jax.random.normal(key, answers.shape))
    state["given"] += len(answers)  # in place: a restored state can be written to
    return state, answers + 1000 * rank[:, None] + noise


NUMBERED = Defence(lambda dim: {"given": np.zeros((), np.float32)}, _numbered)


def test_a_defence_goes_on_where_it_was(tmp_path):
    # State or key lost on reopening, shared by accounts, or moved by what is stored.
    x, key = pictures(9), jax.random.key(0)
    calls = [("a", x[:3]), ("b", x[:2]), ("a", x[1:5]), ("a", x[:2]), ("a", x[4:])]

    def run(path, reopen):
        service, out = opened(path, defence=NUMBERED, key=key), []
        for i, (account, images) in enumerate(calls):
            if reopen:
                service.close()
                service = opened(path, defence=NUMBERED, key=key)
            out.append(service.query(account, images, str(i)))
        again = service.query("a", x[:3], "0")
        service.close()
        np.testing.assert_array_equal(again, out[0])
        return out

    plain, taken_up = run(tmp_path / "p", False), run(tmp_path / "r", True)
    for one, other in zip(plain, taken_up, strict=True):
        np.testing.assert_array_equal(one, other)
    rank = lambda out, images: np.round((out - embedded(images)).mean(1) / 1000)  # noqa: E731
    np.testing.assert_array_equal(rank(plain[0], x[:3]), [0, 1, 2])
    np.testing.assert_array_equal(rank(plain[1], x[:2]), [0, 1])
    np.testing.assert_array_equal(rank(plain[2], x[1:5]), [1, 2, 3, 4])
    np.testing.assert_array_equal(rank(plain[4], x[4:]), [4, 5, 6, 7, 8])


def test_each_call_and_account_has_its_own_key(tmp_path):
    # One key for all: noise that averages out, or that two accounts can subtract.
    keys = []

    def apply(state, images, answers, key):
        keys.append(jax.random.key_data(key).tolist())
        return state, answers

    spy, key = Defence(lambda dim: {}, apply), jax.random.key(0)
    service = opened(tmp_path / "k", defence=spy, key=key)
    for account, seed in [("a", 0), ("a", 1), ("b", 0)]:
        service.query(account, pictures(2, seed))
    service.close()
    assert len({str(k) for k in [*keys, jax.random.key_data(key).tolist()]}) == 4


def test_a_failed_call_leaves_nothing(tmp_path):
    # A defence's state moved, or images counted, by a call that was not answered.
    def flaky(images):
        return embedded(images) * (np.nan if images[0, 0, 0, 0] == 7 else 1)

    x = pictures(6)
    x[:, 0, 0, 0] = 9
    bad = x[3:].copy()
    bad[:, 0, 0, 0] = 7
    key = jax.random.key(0)
    calm = opened(tmp_path / "calm", defence=NUMBERED, key=key)
    service = opened(tmp_path / "a", flaky, defence=NUMBERED, key=key)
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
    spoil = Defence(lambda dim: {}, lambda s, x, answers, key: (s, change(answers)))
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
        ({"limit": 9}, "limit None, not 9"),
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


# ---- damage


def written(path):
    """A file of two accounts, and everything that can be read from it."""
    service = opened(path, limit=40)
    for i in range(4):
        service.query("a", pictures(6, seed=i), str(i))
    service.query("b", pictures(3, seed=9), "0")
    service.close()
    return everything(path)


def everything(path):
    asked = np.concatenate([pictures(6, seed=i) for i in range(4)])
    a = read_answers(path, "a", [str(i) for i in range(4)], asked)
    b = read_answers(path, "b", ["0"], pictures(3, seed=9))
    bills = read_counters(path, "a"), read_counters(path, "b")
    return a.tobytes() + b.tobytes(), bills


def assert_damaged(path, act):
    with pytest.raises(UserError) as e:
        act()
    message = str(e.value)
    assert f"{path} is damaged" in message and "\n" not in message
    assert f"delete the run directory {path.parent} to ask again" in message


@pytest.mark.parametrize(
    ("table", "column"),
    [("answers", "answer"), ("calls", "images"), ("header", "content")],
)
def test_a_flipped_byte_in_a_row_is_found(tmp_path, table, column):
    # Stored answers, calls or settings believed as they lie on the disk.
    path = tmp_path / "a.sqlite"
    written(path)
    with sqlite3.connect(path) as db:
        (value,) = db.execute(f"SELECT {column} FROM {table}").fetchone()
    db.close()
    raw = bytearray(path.read_bytes())
    assert raw.count(value) == 1
    raw[raw.index(value) + len(value) // 2] ^= 1
    path.write_bytes(raw)
    assert_damaged(path, lambda: everything(path))

    def ask_again():
        service = opened(path, limit=40)
        try:
            service.query("a", pictures(6), "0")
        finally:
            service.close()

    assert_damaged(path, ask_again)


def test_no_flipped_byte_changes_what_is_read(tmp_path):
    # A part of the file that no digest covers: keys, indices, sqlite's own pages.
    path = tmp_path / "a.sqlite"
    expected, raw, draw = written(path), path.read_bytes(), random.Random(0)
    found = 0
    for _ in range(300):
        at = draw.randrange(len(raw))
        path.write_bytes(
            raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :]
        )
        try:
            assert everything(path) == expected  # a byte of no meaning
        except UserError as error:
            found += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert found > 20


def test_a_truncated_file_is_found(tmp_path):
    # sqlite's own traceback, or a file begun anew over what was paid for.
    path = tmp_path / "a.sqlite"
    written(path)
    raw = path.read_bytes()
    for size in (len(raw) - 4096, len(raw) // 2, 3000, 100, 10):
        path.write_bytes(raw[:size])
        assert_damaged(path, lambda: everything(path))
        assert_damaged(path, lambda: opened(path, limit=40))
    path.write_text("no database, though long enough to be one\n" * 100)
    assert_damaged(path, lambda: opened(path))


def test_a_damaged_name_is_reported_in_one_line(tmp_path):
    # A line break out of the damaged file in the one line of the error.
    path = tmp_path / "a.sqlite"
    written(path)
    raw = path.read_bytes().replace(b"tablecallscalls", b"tableca\nlscalls")
    path.write_bytes(raw.replace(b"CREATE TABLE calls", b"CREXTE TABLE calls"))
    assert_damaged(path, lambda: everything(path))


def test_a_lost_or_added_row_is_found(tmp_path):
    # Each row whole, but a call or answer gone, and with it a part of the bill.
    for i, table in enumerate(["calls", "answers"]):
        path = tmp_path / f"{i}.sqlite"
        written(path)
        with sqlite3.connect(path) as db:
            db.execute(f"DELETE FROM {table} WHERE account = ?", (b"b",))
        db.close()
        assert_damaged(path, lambda path=path: read_counters(path, "a"))


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    # A mistyped folder answered with the advice to delete a run.
    path = tmp_path / "none" / "a.sqlite"
    with pytest.raises(UserError, match=f"^cannot use {path}: unable to open"):
        opened(path)


# ---- kills and neighbours

# The child has no use for jax nor for the rest of sslx, which take seconds to import:
# stand-ins serve.
CHILD = """
import importlib.machinery, os, signal, sys, time, types
jax = types.ModuleType("jax")
jax.__spec__, jax.Array = importlib.machinery.ModuleSpec("jax", None), object
sslx = types.ModuleType("sslx")
sslx.__path__ = ["sslx"]
sys.modules |= {"jax": jax, "sslx": sslx}
import numpy as np
from sslx.service import DEFENCES, BudgetExceeded, Defence, ledger, serve
path, limit = sys.argv[1], int(sys.argv[2])

def embed(images):
    time.sleep(0.01)
    return images.reshape(len(images), -1).astype(np.float32)[:, :4]

def pictures(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 3, 1), np.uint8)

service = serve(path, embed, image_limit=limit, image_shape=(2, 3, 1), dim=4,
                defence=DEFENCES["none"], key=None)
"""
THIRTY_CALLS = """
for i in range(30):
    print(i, flush=True)
    sys.stdin.readline()
    service.query("a", pictures(20, i // 2)[: 10 + i % 10], str(i))
"""
DIE_BEFORE_THE_CALL_IS_WRITTEN = """
service.query("a", pictures(3, 0), "0")
ledger.add_call = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
service.query("a", pictures(300, 1), "1")
"""
# With no cache to speak of, pages reach the file before they are committed.
HALF_WRITTEN = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE answers SET answer = zeroblob(9000)")
os.kill(os.getpid(), signal.SIGKILL)
"""
ASK_UNTIL_REFUSED = """
print("ready", flush=True)
sys.stdin.readline()
try:
    for i in range(100):
        service.query("a", pictures(int(sys.argv[4]), (int(sys.argv[3]), i)))
except BudgetExceeded as error:
    print(error.left)
"""


def child(script, *args):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def finished(run):
    run.communicate()
    return run.returncode


def let_through(run, calls, kill_after=None):
    """Lets the child make so many calls, and kills it that long into the last."""
    for _ in range(calls):
        run.stdout.readline()
        run.stdin.write("go\n"), run.stdin.flush()
    if kill_after is not None:
        time.sleep(kill_after)
        run.kill()
    return finished(run)


def test_killed_and_taken_up_equals_undisturbed(tmp_path):
    # A call half written, paid for twice, or lost, wherever the process is killed.
    draw, whole, cut = random.Random(0), tmp_path / "whole", tmp_path / "cut"
    assert let_through(child(THIRTY_CALLS, whole, 1000), 30) == 0
    for kill in range(3):
        run = child(THIRTY_CALLS, cut, 1000)
        # Calls made before are answered from the store: dies at a new one.
        done = let_through(run, 8 * (kill + 1), draw.uniform(0, 0.02))
        assert done == -signal.SIGKILL
    service = opened(cut, limit=1000)
    assert service.counters("a").calls < 30
    service.close()
    assert let_through(child(THIRTY_CALLS, cut, 1000), 30) == 0
    ids = [str(i) for i in range(30)]
    assert read_counters(cut, "a") == read_counters(whole, "a")
    assert read_counters(whole, "a") == Counters(225, 435, 30, 1740, 1000)
    asked = np.concatenate([pictures(20, i // 2)[: 10 + i % 10] for i in range(30)])
    cut_answers, answers = (read_answers(p, "a", ids, asked) for p in (cut, whole))
    np.testing.assert_array_equal(cut_answers, answers)


def test_reading_after_a_kill_within_a_write(tmp_path):
    # Half a call read as if it were whole, or the kill reported as damage.
    path = tmp_path / "a.sqlite"
    expected = written(path)
    run = subprocess.run([sys.executable, "-c", HALF_WRITTEN, path])
    assert run.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match=f"^{path} is as a killed run left it"):
        read_counters(path, "a")
    opened(path, limit=40).close()
    assert everything(path) == expected


def test_killed_within_a_call_leaves_nothing_of_it(tmp_path):
    # Answers written, and so unique images counted, apart from their call.
    path = tmp_path / "a.sqlite"
    run = child(DIE_BEFORE_THE_CALL_IS_WRITTEN, path, 1000)
    assert finished(run) == -signal.SIGKILL
    service = opened(path, limit=1000)
    assert service.counters("a") == Counters(3, 3, 1, 12, 1000)
    service.close()


@pytest.mark.parametrize(("size", "answered"), [(10, 100), (7, 98)])
def test_two_processes_share_one_limit(tmp_path, size, answered):
    # Each process spending the same rest of the budget.
    path = tmp_path / "a.sqlite"
    runs = [child(ASK_UNTIL_REFUSED, path, 100, i, size) for i in range(2)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n"), run.stdin.flush()
    left = [run.communicate()[0].strip() for run in runs]
    assert left == [str(100 - answered)] * 2
    assert read_counters(path, "a") == Counters(
        answered, answered, answered // size, answered * DIM, 100
    )


def test_a_neighbour_waits_while_the_victim_works(tmp_path):
    # The limit, or what is new, looked up before the neighbour's call was written.
    path, errors, at_work = tmp_path / "a.sqlite", [], threading.Event()

    def slow(images):
        at_work.set()
        time.sleep(0.3)
        return embedded(images)

    def neighbour():
        service = opened(path, limit=10)
        at_work.wait()
        try:
            service.query("a", pictures(6, seed=1))
        except BudgetExceeded as error:
            errors.append(error)
        service.close()

    service = opened(path, slow, limit=10)
    thread = threading.Thread(target=neighbour)
    thread.start()
    service.query("a", pictures(6))
    thread.join()
    assert [e.left for e in errors] == [4]
    assert service.counters("a") == Counters(6, 6, 1, 24, 10)
    service.close()


def test_a_file_locked_too_long_is_said_in_one_line(tmp_path, monkeypatch):
    # A neighbour's lock taken for damage, with the advice to delete the run.
    path = tmp_path / "a.sqlite"
    monkeypatch.setattr(database, "WAIT", 0.05)
    service = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match=f"^cannot use {path}: database is locked$"):
        service.query("a", pictures(2))
    other.close()
    service.query("a", pictures(2))
    service.close()
