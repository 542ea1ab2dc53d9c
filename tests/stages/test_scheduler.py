import fcntl
import shutil
import threading

import pytest

from sslx.runs.files import write_meta
from sslx.runs.locks import claim, hold, working_on
from sslx.runs.names import make_run
from sslx.stages import scheduler
from sslx.stages.scheduler import carry_out, missing
from sslx.types import UserError


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(scheduler, "PAUSE", 0.01)


class Bench:
    """Runs of one stage that do nothing but write their names down.

    done: Names of the runs that were made, in order.
    then: Name -> what else happens when it is made.
    """

    def __init__(self, workdir):
        self.workdir, self.done, self.then = workdir, [], {}

    def run(self, name, parents=None, stage="steal", **recipe):
        return make_run(self.workdir, stage, name, recipe, parents or {})

    def make(self, run):
        name = run.name.rpartition("-")[0]
        with working_on(run, "a test") as needed:
            if needed:
                self.done.append(name)
                self.then.get(name, lambda: None)()
                write_meta(run, finished=True)

    def carry_out(self, *goals, stages=("steal",)):
        carry_out(goals, stages, dict.fromkeys(stages, self.make))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_finished_work_is_skipped_and_shared_work_done_once(bench):
    # Catches a victim trained for each of its thieves, and a finished run made again.
    a = bench.run("a")
    b, c = bench.run("b", {"victim": a}), bench.run("c", {"victim": a})
    assert [run.name for run in missing([b, a, c, b], ["steal"])] == [
        run.name for run in (a, b, c)
    ]
    bench.carry_out(b, c, a)
    bench.carry_out(b, c, a)
    assert bench.done == ["a", "b", "c"]


def test_what_a_finished_run_builds_on_is_not_looked_at(bench):
    # Catches a victim that was deleted to save room and is trained again for nothing.
    a = bench.run("a")
    b = bench.run("b", {"victim": a})
    bench.carry_out(b)
    shutil.rmtree(a.path)
    bench.carry_out(b)
    assert bench.done == ["a", "b"] and not a.path.exists()
    bench.carry_out(bench.run("c", {"victim": a, "other": b}))  # needs both
    assert bench.done == ["a", "b", "a", "c"]


def test_only_stages_that_were_named_are_made(bench):
    # Catches a victim that is trained though its stage was left out of the config.
    victim = bench.run("a", stage="victim")
    theft = bench.run("b", {"victim": victim})
    with pytest.raises(UserError, match="builds on victim/a-.*config.stages leaves"):
        bench.carry_out(theft)
    assert bench.done == []
    bench.carry_out(theft, stages=("victim", "steal"))
    assert bench.done == ["a", "b"]


def test_what_another_process_holds_is_passed_over(bench):
    # Catches a process that waits for a run while others are free, does what another
    # did, or starts what builds on a run that is not there yet.
    held = bench.run("held")
    child = bench.run("child", {"victim": held})
    free = threading.Event()
    bench.then["other"] = free.set
    ready = threading.Event()

    def neighbour():
        with hold(held):
            ready.set()
            assert free.wait(20)  # it is passed over only if "other" comes first
            write_meta(held, finished=True)

    thread = threading.Thread(target=neighbour)
    thread.start()
    assert ready.wait(20)
    bench.carry_out(child, bench.run("other"))
    thread.join()
    assert bench.done == ["other", "child"]


def test_what_fails_does_not_stop_the_others(bench, capsys):
    # Catches a study that ends at its first diverging stealer, or that does not say so;
    # what builds on it being started, or waited for without end; and a stage whose
    # runs were given up passed over in the log.
    def diverge():
        raise UserError("the loss is nan")

    bench.then["bad"] = diverge
    bad, good = bench.run("bad"), bench.run("good")
    child = bench.run("child", {"victim": bad})
    grandchild = bench.run("grandchild", {"a": child, "b": good})
    probed = bench.run("probed", {"encoder": good}, stage="probe")
    lost = bench.run("lost", {"encoder": child}, stage="probe")
    with pytest.raises(UserError, match="^the loss is nan; a report of what is"):
        bench.carry_out(lost, grandchild, probed, stages=("steal", "probe"))
    assert bench.done == ["bad", "good", "probed"]
    said = capsys.readouterr().err
    assert "[steal] the loss is nan; the others go on" in said
    assert said.count("; the others go on") == 1  # of the cause, not of what it costs
    assert "[probe] 1 run in" in said


def test_a_claim_waits_for_nobody(tmp_path):
    # Catches locks that are kept after a claim, dropped within one, or taken in vain.
    run = make_run(tmp_path, "steal", "a", {}, {})
    with claim(run) as ours:
        assert ours and taken(run)
        with hold(run):  # its own: no waiting
            pass
        assert taken(run)
    assert not taken(run)
    with open(run.path / "lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process does
        with claim(run) as ours:
            assert not ours
    assert not taken(run)


def taken(run):
    """Whether somebody else could not hold it."""
    with open(run.path / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_one_line_a_stage(bench, capsys):
    # Catches a log that names each of a hundred probes, a stage that is not told of,
    # and a second launch that does not say what was there.
    thefts = [bench.run(f"t{i}") for i in range(3)]
    probes = [bench.run(f"p{i}", {"e": t}, "probe") for i, t in enumerate(thefts)]
    stages = ("steal", "probe")
    bench.carry_out(*thefts, stages=stages)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[steal] 3 runs in ")
    bench.carry_out(*thefts, *probes, stages=stages)
    there, line = capsys.readouterr().err.splitlines()
    assert there == "[sslx] 3 of 6 runs are there"
    assert line.startswith("[probe] 3 runs in ")
    bench.carry_out(*thefts, *probes, stages=stages)
    assert capsys.readouterr().err == "[sslx] all 6 runs are there\n"


def test_time_left(bench, capsys, monkeypatch):
    # Catches a pace that counts small runs like large ones.
    now = [0.0]
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: now[0])

    def pass_time():
        now[0] += 100.0

    bench.then = {"a": pass_time, "b": pass_time}
    runs = [bench.run(n, steps=s, batch_size=2) for n, s in (("a", 10), ("b", 30))]
    bench.carry_out(*runs)
    assert "1 of 2 to be made, 5 min left" in capsys.readouterr().err
