import threading

import pytest

from sslx.engine.rundir import hold, make_run, working_on, write_meta
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
            run.path.mkdir(parents=True)
            pass_time()
            write_meta(run, finished=True)

        works.append(Work((run,), do))
    carry_out(works)
    assert "1 of 2 runs are there, 5 min left at this pace" in capsys.readouterr().err
