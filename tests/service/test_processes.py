"""What several processes do to one file, and what is left of one that is killed."""

import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sslx.service import (
    BudgetExceeded,
    Counters,
    database,
    make_defence,
    read_answers,
    read_counters,
)
from sslx.types import UserError
from tests.service.box import (
    DIM,
    embedded,
    everything,
    opened,
    pictures,
    written,
)

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
from sslx.service import BudgetExceeded, calibrate, ledger, make_defence, serve
path, limit, repeats = sys.argv[1], int(sys.argv[2]), sys.argv[3]
names, given = sys.argv[4].split("+"), 0
numbers = {
    "noise": {"sd": 0.5},
    "near_duplicates": {"similarity": 0.9},
    "b4b": {"bits": 4, "draws": 3, "centred": True, "start": 0.01, "noise": 1.0,
            "knee": 50.0, "transform": "none"},
    "proof_of_work": {"sd": 0.5, "quantile": 0.01, "floor": 3.0, "doubling": 0.01,
                      "most": 40.0, "call_size": 20},
}

def embed(images):
    global given
    given += len(images)
    time.sleep(0.01)
    return images.reshape(len(images), -1).astype(np.float32)[:, :4]

def pictures(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 3, 1), np.uint8)

def taken_up(path):
    return serve(path, embed, image_limit=limit, image_shape=(2, 3, 1), dim=4,
                 defence=make_defence(names, numbers), repeats=repeats,
                 secret=bytes(32), calibration=calibrate(embed(pictures(30, 99))))

service = taken_up(path)
given = 0
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
# Forks that each go on until so many statements of sqlite's were run.
DIE_AT_STATEMENTS = """
def ten_calls(path, left):
    service = taken_up(path)

    def step(statement):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    service.close.__self__.set_trace_callback(step)
    for i in range(10):
        service.query("a", pictures(6, i // 2)[: 3 + i % 3], str(i))
    os._exit(0)

service.close()
for path, left in [(path, 10**6), *((sys.argv[5], int(n)) for n in sys.argv[6:])]:
    if not (pid := os.fork()):
        ten_calls(path, left)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
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
ODD_NAMES = """
for account, call in (("a", 5), ("a", b"5"), ("a", True), (None, "1"), (b"a", "1")):
    try:
        service.query(account, pictures(2, 0), call)
    except Exception as error:
        print(type(error).__name__, error)
print(service.accounts(), given)
"""
# Prints what was refused, and at last the images answered and embedded.
ASK_900 = """
size, seed, named = map(int, sys.argv[5:])
print("ready", flush=True)
sys.stdin.readline()
answered = 0
for start in range(0, 900, size):
    images = pictures(min(size, 900 - start), (seed, start))
    try:
        service.query("a", images, str(start) if named else None)
        answered += len(images)
    except BudgetExceeded as error:
        print(error)
print(answered, given)
"""


def child(script, path, limit, *args, repeats="memoised", defence="none"):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + script]
        + [str(arg) for arg in (path, limit, repeats, defence, *args)],
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


def remembered(path):
    """All that a defence has in a file, the totals, and the answers."""
    with closing(sqlite3.connect(path)) as db:
        return {
            table: db.execute(f"SELECT * FROM {table} ORDER BY {columns}").fetchall()
            for table, columns in (
                ("states", "1"),
                ("rows", "rowid"),
                ("totals", "1"),
                ("answers", "1, 2"),
            )
        }


@pytest.mark.parametrize(
    ("defence", "kept"),
    [
        ("none", []),
        pytest.param("b4b+proof_of_work", ["states"], marks=pytest.mark.slow),
        pytest.param(
            "near_duplicates+noise", ["states", "rows"], marks=pytest.mark.slow
        ),
    ],
)
def test_killed_and_taken_up_equals_undisturbed(tmp_path, defence, kept):
    # A call half written, paid for twice, or lost, wherever the process is killed; what
    # a defence remembers (what changes with each call, too) written apart from its
    # answers, or another draw than before; totals that are not those of the calls.
    draw, whole, cut = random.Random(0), tmp_path / "whole", tmp_path / "cut"
    assert let_through(child(THIRTY_CALLS, whole, 1000, defence=defence), 30) == 0
    for kill in range(3):
        run = child(THIRTY_CALLS, cut, 1000, defence=defence)
        # Calls made before are answered from the store: dies at a new one.
        done = let_through(run, 8 * (kill + 1), draw.uniform(0, 0.02))
        assert done == -signal.SIGKILL
    assert finished(child("", cut, 1000, defence=defence)) == 0  # mends the file
    assert read_counters(cut, "a").calls < 30
    assert let_through(child(THIRTY_CALLS, cut, 1000, defence=defence), 30) == 0
    ids = [str(i) for i in range(30)]
    assert read_counters(cut, "a") == read_counters(whole, "a")
    assert read_counters(whole, "a") == Counters(225, 435, 30, 1740, 1000)
    asked = np.concatenate([pictures(20, i // 2)[: 10 + i % 10] for i in range(30)])
    cut_answers, answers = (read_answers(p, "a", ids, asked) for p in (cut, whole))
    np.testing.assert_array_equal(cut_answers, answers)
    found = remembered(whole)
    assert remembered(cut) == found and found["totals"]
    assert [name for name in ("states", "rows") if found[name]] == kept


@pytest.mark.parametrize("defence", ["b4b+proof_of_work", "near_duplicates+noise"])
def test_killed_at_any_statement_equals_undisturbed(tmp_path, defence):
    # A state, a row or a total that is written apart from the answers it is of; a kill
    # by the clock seldom comes between the two.
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    points = [*random.Random(1).choices(range(90), k=12), 10**6]
    run = child(DIE_AT_STATEMENTS, whole, 1000, cut, *points, defence=defence)
    out, _ = run.communicate()
    ends = [int(line) for line in out.split()]
    assert ends.count(-signal.SIGKILL) > 8 and ends[0] == ends[-1] == 0
    assert set(ends) == {-signal.SIGKILL, 0}
    assert remembered(cut) == remembered(whole)
    assert read_counters(cut, "a") == read_counters(whole, "a")


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


@pytest.mark.parametrize("repeats", ["memoised", "fresh"])
def test_killed_within_a_call_leaves_nothing_of_it(tmp_path, repeats):
    # Answers written, and so unique images counted, apart from their call.
    path = tmp_path / "a.sqlite"
    run = child(DIE_BEFORE_THE_CALL_IS_WRITTEN, path, 1000, repeats=repeats)
    assert finished(run) == -signal.SIGKILL
    none = make_defence(["none"], {})
    service = opened(path, limit=1000, repeats=repeats, defence=none)
    assert service.counters("a") == Counters(3, 3, 1, 12, 1000)
    service.close()


def both(path, size, seeds, named=0):
    """Two processes ask 900 each: (errors, images answered, images embedded)."""
    runs = [child(ASK_900, path, 1000, size, seed, named) for seed in seeds]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n"), run.stdin.flush()
    lines = [run.communicate()[0].splitlines() for run in runs]
    sums = np.sum([[int(n) for n in out[-1].split()] for out in lines], axis=0)
    return [line for out in lines for line in out[:-1]], *sums.tolist()


# Of 900, calls of 64 leave a last one of 4; 15 x 64 + 2 x 4 = 968 fit.
@pytest.mark.parametrize(
    ("size", "answered", "calls", "refused", "left"),
    [(100, 1000, 10, 8, {0}), (64, 968, 17, 13, {40, 36, 32})],
)
@pytest.mark.parametrize("seeds", [(0, 1), (0, 0)], ids=["others", "same"])
def test_two_processes_share_one_limit(
    tmp_path, size, answered, calls, refused, left, seeds
):
    # Each process spending the same rest of the budget, a call answered in part, an
    # image that both send embedded twice, or an error that miscounts what is left.
    path = tmp_path / "a.sqlite"
    errors, images, embedded = both(path, size, seeds)
    bill = read_counters(path, "a")
    assert (images, bill.images, bill.calls) == (answered, answered, calls)
    assert bill.unique_images == embedded
    assert embedded == answered if seeds == (0, 1) else embedded <= 900
    says = re.compile("account 'a' has ([0-9]+) of 1000 images left .image_limit., ")
    found = [says.match(error) for error in errors]
    assert len(found) == refused and all(found)
    assert {int(match[1]) for match in found} <= left


def test_two_processes_that_make_the_same_calls_pay_once(tmp_path):
    # A call that two processes make under one id counted, or embedded, for each.
    path = tmp_path / "a.sqlite"
    errors, images, embedded = both(path, 100, (0, 0), named=1)
    assert (errors, images, embedded) == ([], 1800, 900)
    assert read_counters(path, "a") == Counters(900, 900, 9, 900 * DIM, 1000)


def test_names_of_another_type_are_told_in_one_line(tmp_path):
    # A traceback out of the ledger. In a process whose calls nobody checks for types.
    run = child(ODD_NAMES, tmp_path / "a", 1000)
    assert run.communicate()[0].splitlines() == [
        "UserError a call's id is a text, not 5",
        "UserError a call's id is a text, not b'5'",
        "UserError a call's id is a text, not True",
        "UserError an account's name is a text, not None",
        "UserError an account's name is a text, not b'a'",
        "[] 0",
    ]


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
