"""The command ``sslx`` and where its older commands went."""

import subprocess
import sys

import pytest

from sslx import cli
from sslx.version import __version__
from tests import tiny


def start(*words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=tiny.ROOT, capture_output=True, text=True
    )


def ended(capsys, *words):
    """Exit status, output and errors of the command in this process."""
    code = 0
    try:
        cli.main([*words])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_what_it_can_do(capsys):
    # Catches a subcommand that nobody is told of, help that counts as an error.
    code, out, err = ended(capsys, "--help")
    assert (code, err) == (0, "") and out == cli.usage() + "\n"
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert ended(capsys) == (2, "", out)
    assert ended(capsys, "--version") == (0, f"{__version__}\n", "")


def test_an_unknown_subcommand(capsys):
    # Catches a module that is run because it lies in the folder, and a traceback.
    for name in ("inspct", "inspect_text", "command"):
        code, out, err = ended(capsys, name)
        assert (code, out) == (2, "")
        first, second = err.splitlines()
        assert first == f"sslx: no command {name!r}"
        assert second == f"sslx: known are {', '.join(cli.COMMANDS)}"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_subcommand_has_help(name, capsys):
    # Catches a line of the list without a module, and a help text of another name.
    code, out, _ = ended(capsys, name, "--help")
    assert code == 0 and out.startswith(f"usage: sslx {name}")


def test_a_set_that_cannot_be_prepared(tmp_path):
    # Catches an error that a script takes for success.
    done = start("sslx", "prepare", "imagenette", "--data_dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sslx: 'imagenette'")


def test_as_a_module():
    # Catches a package that cannot be run without the console script.
    done = start("sslx", "--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sslx.inspect", "inspect"),
        ("sslx.export", "export"),
        ("sslx.report", "report"),
        ("sslx.data.prepare", "prepare"),
    ],
)
def test_where_older_commands_went(module, name):
    # Catches a command of older notes that is silently gone or does nothing.
    done = start(module, "checkpoints")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"sslx: this command is now `sslx {name}`\n"


@pytest.mark.slow
def test_a_variable_that_jax_cannot_read(monkeypatch):
    # Catches the traceback of an import.
    monkeypatch.setenv("JAX_ENABLE_X64", "maybe")
    done = start("sslx", "inspect", ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'maybe'" in done.stderr and len(done.stderr.splitlines()) == 1
