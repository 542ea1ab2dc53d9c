import fcntl
import threading
from contextlib import ExitStack

import pytest

from sslx.runs.files import write_meta
from sslx.runs.locks import claim, hold, working_on
from sslx.runs.names import make_run
from sslx.stages import schedule
from sslx.stages.schedule import carry_out
from sslx.stages.work import Work, once
from sslx.types import UserError


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(schedule, "PAUSE", 0.01)


def job(workdir, name, done, parents=(), then=lambda: None):
    """A run and the work that makes it, which writes its name down."""
    run = make_run(workdir, "steal", name, {}, dict(parents))

    def do():
        with working_on(run, "a test") as needed:
            if needed:
                done.append(name)
                then()
                write_meta(run, finished=True)

    return run, Work((run,), do)


def test_finished_work_is_skipped_and_shared_work_done_once(tmp_path):
    # Catches a victim trained for each of its thieves, and a finished run made again.
    done = []
    a, make_a = job(tmp_path, "a", done)
    _, make_b = job(tmp_path, "b", done, {"victim": a})
    assert len(once([make_a, make_b, make_a])) == 2
    carry_out([make_a, make_b])
    carry_out([make_a, make_b])
    assert done == ["a", "b"]


def test_what_another_process_holds_is_passed_over(tmp_path):
    # Catches a process that waits for a run while others are free, does what another
    # did, or starts what builds on a run that is not there yet.
    done = []
    held, make_held = job(tmp_path, "held", done)
    _, child = job(tmp_path, "child", done, {"victim": held})
    free = threading.Event()
    _, other = job(tmp_path, "other", done, then=free.set)
    ready = threading.Event()

    def neighbour():
        with hold(held):
            ready.set()
            assert free.wait(20)  # it is passed over only if "other" comes first
            write_meta(held, finished=True)

    thread = threading.Thread(target=neighbour)
    thread.start()
    assert ready.wait(20)
    carry_out([make_held, child, other])
    thread.join()
    assert done == ["other", "child"]


def test_a_missing_parent_is_said(tmp_path):
    # Catches an endless wait for what nobody makes.
    absent = make_run(tmp_path, "victim", "absent", {}, {})
    _, orphan = job(tmp_path, "orphan", [], {"victim": absent})
    with pytest.raises(UserError, match="builds on victim/absent.*not finished"):
        carry_out([orphan])


def test_what_fails_does_not_stop_the_others(tmp_path):
    # Catches a study that ends at its first diverging stealer, or that does not say so;
    # and what builds on it being started.
    done = []

    def diverge():
        raise UserError("the loss is nan")

    bad, make_bad = job(tmp_path, "bad", done, then=diverge)
    _, child = job(tmp_path, "child", done, {"victim": bad})
    _, good = job(tmp_path, "good", done)
    with pytest.raises(UserError, match="loss is nan; the report of what is finished"):
        carry_out([make_bad, child, good])
    assert done == ["bad", "good"]


def test_a_claim_is_all_or_nothing(tmp_path):
    # Catches locks that are kept after a claim in vain, or dropped within one.
    a, b = (make_run(tmp_path, "steal", name, {}, {}) for name in "ab")
    with claim([b]) as ours:
        assert ours and not taken([b])
        with hold(b):  # its own: no waiting
            pass
        assert not taken([b])
    with open(b.path / "lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process does
        with claim([a, b]) as ours:
            assert not ours and taken([a])
    assert taken([a, b])


def taken(runs):
    """Whether somebody else could hold all of them."""
    with ExitStack() as stack:
        try:
            for run in runs:
                file = stack.enter_context(open(run.path / "lock"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_time_left(tmp_path, capsys, monkeypatch):
    # Catches a pace that counts small runs like large ones.
    now = [0.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])

    def pass_time():
        now[0] += 100.0

    works = []
    for name, steps in (("a", 10), ("b", 30)):
        run = make_run(tmp_path, "steal", name, {"steps": steps, "batch_size": 2}, {})

        def do(run=run):
            pass_time()
            write_meta(run, finished=True)

        works.append(Work((run,), do))
    carry_out(works)
    assert "1 of 2 runs are there, 5 min left at this pace" in capsys.readouterr().err
