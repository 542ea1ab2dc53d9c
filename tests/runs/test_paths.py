"""Text that people write for a place, and names that fit a file system."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from sslx import data, program
from sslx.cli import inspect, report
from sslx.data.sources import id_cache
from sslx.data.sources.prepared import place
from sslx.embed.recording import record
from sslx.models.weight_files import read_weights
from sslx.runs.names import fingerprint_of, make_run
from sslx.runs.paths import NoHome, local_path
from sslx.train import mesh
from sslx.types import UserError
from tests import tiny

REFUSED = {
    "gs://bucket/runs": "not on a file system of this machine; object stores",
    "s3://bucket": "object stores",
    "S3://bucket": "object stores",
    "az://container/x": "object stores",
    "r2://bucket/x": "object stores",
    "hdfs:/user/x": "object stores",
    "https://host/weights.pth": "object stores",
    "server:/data/images": "object stores",
    "me@server:/data/images": "object stores",
    "file:///data/set.npz": "write the path alone, /data/set.npz",
    "file://localhost/data/set.npz": "write the path alone, /data/set.npz",
    "C:\\runs\\a": "Windows; within WSL it is /mnt/c/runs/a",
    "d:/runs": "Windows; within WSL it is /mnt/d/runs",
    "$SCRATCH/runs": r"no shell has filled in \$SCRATCH",
    "/data/${USER}/runs": r"no shell has filled in \$\{USER\}",
    "~nobody-is-called-so/runs": "no home ~nobody-is-called-so here",
    "a\0b": "NUL",
    "\\\\server\\share": "path of Windows",
    " ": "names no file or folder",
}


@pytest.mark.parametrize("text", REFUSED)
def test_no_path_of_this_machine(text, tmp_path, monkeypatch):
    # Catches a local folder "gs:" or "$SCRATCH", and one way in that has no eye on it.
    monkeypatch.chdir(tmp_path)
    ways = [
        lambda: local_path(text),
        lambda: program.run(tiny.config(), text),
        lambda: data.describe(f"npz:{text}"),
        lambda: data.describe(f"folder:{text}"),
        lambda: place(text),
        lambda: record(text),
        lambda: read_weights(text),
        lambda: inspect.look(text),
        lambda: report.main([text]),
    ]
    for way in ways:
        with pytest.raises(UserError, match=REFUSED[text]) as error:
            way()
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_workdir_that_is_no_utf8(tmp_path):
    # Catches a traceback of Orbax, and weights written to another place; data may lie
    # in such a folder.
    with pytest.raises(UserError, match=r"--workdir='.*' is not UTF-8"):
        program.run(tiny.config(), tmp_path / "runs-\udce9")
    with pytest.raises(UserError, match=r"has a backslash"):
        program.run(tiny.config(), tmp_path / "q\\b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["a b", "it's", 'quo"te', "a\nb", "a:b", "cost$5", "x~", "été", "-x", "a\\b"],
)
def test_odd_paths_that_are_fine(text, tmp_path):
    # Catches a refusal of what a file system takes.
    assert local_path(text) == Path(text)
    assert local_path(tmp_path / text) == tmp_path / text


def test_a_variable_in_a_name_that_is_there(tmp_path):
    # Catches a folder that someone has named so and cannot open any more.
    (tmp_path / "$HOME").mkdir()
    assert local_path(tmp_path / "$HOME").is_dir()


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    # Catches a folder named "~" where the shell has not filled it in.
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/runs") == tmp_path / "runs" and local_path("~") == tmp_path
    np.savez(tmp_path / "w.npz", w=np.zeros(2))
    assert read_weights("~/w.npz")["w"].shape == (2,)
    monkeypatch.setattr(program, "resolve", lambda config, workdir: 1 / (workdir == 0))
    with pytest.raises(ZeroDivisionError):
        program.run(tiny.config(), "~/runs")


@pytest.fixture
def homeless(monkeypatch):
    """No HOME and an unknown user."""
    monkeypatch.delenv("HOME", raising=False)

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)


def test_no_home(homeless, monkeypatch):
    # Catches a traceback for the sake of a cache that a run can do without.
    with pytest.raises(NoHome, match="write the whole path"):
        local_path("~/runs")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    with pytest.raises(NoHome, match="data.dir or TFDS_DATA_DIR"):
        place(None)
    assert list(id_cache.remembered("x", lambda: np.arange(3))) == [0, 1, 2]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    told = []
    monkeypatch.setattr(mesh.jax.config, "update", lambda *a: told.append(a))
    mesh.start(cpu_devices=8, compile_cache="~/.cache/sslx/xla", processes=1)
    assert "jax_compilation_cache_dir" not in dict(told)
    with pytest.raises(UserError, match="object stores"):
        mesh.start(cpu_devices=8, compile_cache="gs://bucket/xla", processes=1)


def test_arguments_are_paths():
    # Catches argparse, which takes some errors for a wrong use of the command.
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=local_path)
    with pytest.raises(UserError):
        parser.parse_args(["gs://b"])


@pytest.mark.parametrize(
    "slug", ["x" * 240, "x" * 255, "é" * 200, "ab" * 3000, "图" * 90]
)
def test_long_names(slug, tmp_path):
    # Catches a name that no file system takes, one cut within a letter, and two runs
    # that meet in one directory.
    one = make_run(tmp_path, "victim", slug, {"seed": 0}, {})
    two = make_run(tmp_path, "victim", slug, {"seed": 1}, {})
    one.path.mkdir(parents=True)
    assert one.name != two.name and one.name[:20] == two.name[:20]
    assert one.name.endswith("-" + fingerprint_of(one))
    assert fingerprint_of(one) == fingerprint_of(one._replace(name=f"s-{one.name}"))


def test_names_of_before():
    # Catches a run of an earlier version that is made anew under another name.
    assert make_run(Path("w"), "victim", "a:b/c", {"x": 1}, {}).name == (
        "a-b-c-de202d1ca1"
    )
    assert make_run(Path("w"), "victim", "a\nb", {"x": 1}, {}).name[:3] == "a-b"
