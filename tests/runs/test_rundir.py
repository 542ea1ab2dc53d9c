import subprocess
import sys
import time

import pytest

from sslx.runs import files, locks, names
from sslx.types import UserError


def make(workdir, recipe, parents=None):
    return names.make_run(workdir, "victim", "slug", recipe, parents or {})


def test_names_follow_from_what_determines_the_result(tmp_path):
    # Catches a workdir, a key order or a tuple that leaks into the name, and a setting
    # or a parent that does not.
    base = make(tmp_path, {"a": 1, "b": (1, 2)})
    assert make(tmp_path / "elsewhere", {"b": [1, 2], "a": 1}).name == base.name
    assert make(tmp_path, {"a": 2, "b": (1, 2)}).name != base.name
    child = make(tmp_path, {"x": 1}, {"victim": base})
    other = make(tmp_path, {"x": 1}, {"victim": make(tmp_path, {"a": 2})})
    assert child.name != other.name
    assert base.path.parent == tmp_path / "victim"


@pytest.mark.parametrize(
    ("slug", "start"),
    [
        ("my set", "my set-"),
        ("mine:SOURCE/3", "mine-SOURCE-3-"),
        ("\udce9t\udce9", "-t--"),
        ("a\nb\x1b[1m\0", "a-b-[1m--"),
        ("caf\u00e9", "caf\u00e9-"),
        ("x" * 300, "x" * 244 + "-"),
        ("\u732b" * 100, "\u732b" * 81 + "-"),
    ],
)
def test_names_that_directories_take(tmp_path, slug, start):
    # Catches a data set's name that no directory can be called after: too long, with a
    # slash, or in bytes that JSON and pages do not take.
    run = names.make_run(tmp_path, "victim", slug, {}, {})
    assert run.name.startswith(start) and len(run.name) == len(start) + 10
    run.path.mkdir(parents=True)
    run.key.encode()
    again = names.make_run(tmp_path, "victim", run.name[:-11], {}, {})
    assert again.name == run.name


def test_meta_is_replaced_whole_and_damage_is_told(tmp_path):
    # Catches an entry lost by the second write, and a traceback on broken JSON.
    run = make(tmp_path, {"a": 1})
    run.path.mkdir(parents=True)
    files.write_meta(run, finished=False, dim=4)
    assert not files.is_finished(run)
    files.write_meta(run, finished=True)
    assert files.is_finished(run)
    assert files.read_json(run.path / "meta.json")["dim"] == 4
    (run.path / "meta.json").write_text('{"finished": tr')
    with pytest.raises(UserError, match="meta.json cannot be read"):
        files.is_finished(run)


HOLD = """
import sys, time
from pathlib import Path
from sslx.runs import files, locks, names
run = names.make_run(Path(sys.argv[1]), "victim", "slug", {"a": 1}, {})
with locks.hold(run):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_waits_and_a_dead_one_lets_go(tmp_path, capsys):
    # Catches two processes in one run, and a lock that outlives its process.
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    second = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert f"held by process {holder.pid} on" in second.stderr.readline()
    time.sleep(0.2)
    assert second.poll() is None
    holder.kill()
    assert second.stdout.readline() == "held\n"
    second.kill()
    for process in (holder, second):
        process.wait()
        process.stdout.close()
    second.stderr.close()
    with locks.hold(make(tmp_path, {"a": 1})):
        pass
    assert capsys.readouterr().err == ""


def test_an_unfinished_parent_is_not_built_on(tmp_path):
    # Catches answers bought from a victim that is still in training.
    parent = make(tmp_path, {"a": 1})
    parent.path.mkdir(parents=True)
    files.write_meta(parent, finished=False)
    child = names.make_run(tmp_path, "steal", "slug", {}, {"victim": parent})
    with (
        pytest.raises(UserError, match="builds on victim/slug-.* not finished"),
        locks.working_on(child, ""),
    ):
        pass
    assert not child.path.exists()
    files.write_meta(parent, finished=True)
    with locks.working_on(child, "") as needed:
        assert needed
