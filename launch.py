"""Runs an experiment: python launch.py --config=configs/digits_direct.py."""

import os
import sys
import warnings

# Before JAX is imported: its C++ side writes of caches and threads on every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment, e.g. configs/digits_direct.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", "checkpoints", "Root of all runs.")
_VERBOSE = flags.DEFINE_bool("verbose", False, "Say when each run starts and ends.")


def _say(message: str) -> None:
    print(f"sslx: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _leave(message: str, code: int) -> None:
    _say(message)
    raise SystemExit(code)


def _carry_out(config, workdir: str) -> None:
    """Runs the experiment; the other processes, if any, end when this one does."""
    try:
        from sslx import hosts
        from sslx.cli.command import in_a_line, quiet, reader_left
        from sslx.program import run
        from sslx.progress import be_verbose
        from sslx.train import mesh
        from sslx.train.interrupt import Stopped, stop_at_once
    except ValueError as error:  # a variable that JAX or Flax cannot make sense of
        _leave(f"environment: {error}", 1)

    quiet()
    be_verbose(_VERBOSE.value)
    e = config.engine
    try:
        stop_at_once()
        mesh.start(
            cpu_devices=e.cpu_devices,
            compile_cache=e.compile_cache,
            coordinator=e.coordinator,
            processes=e.processes,
            process=e.process,
            patience=e.patience,
        )
        run(config, workdir)
        return
    except Stopped as stop:
        what = f"{stop}; the same command goes on from there"
        code = 128 + stop.signal
    except KeyboardInterrupt:
        code = 130
        what = "interrupted; the same command goes on from the last checkpoint"
    except hosts.Elsewhere as error:
        what, code = str(error), error.code
    except BrokenPipeError:
        what, code = "nobody reads on", reader_left()
    except Exception as error:
        line = in_a_line(error, workdir)
        if line is None:  # of ours or of a library: with its traceback
            hosts.give_up(f"{type(error).__name__}: {error}", 1)
            raise
        what, code = line, 1
    if hosts.give_up(what, code):
        _say(what if hosts.first() else f"process {hosts.index()}: {what}")
    if code == 130:
        # XLA may be in the middle of a computation, which the interpreter's own way
        # out does not survive. All that is written is written whole.
        sys.stdout.flush()
        os._exit(code)
    raise SystemExit(code)


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; whatever is wrong with them ends the program in one line."""
    # Looked at first: the flag's own message lists every place it has tried.
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    values = [
        value or following
        for (flag, _, value), following in ((a.partition("="), b) for a, b in pairs)
        if flag in ("--config", "-config")
    ]
    wants_help = any(a.lstrip("-").startswith("help") for a in argv[1:])
    if not values and not wants_help:
        _leave("say which experiment: --config=configs/digits_direct.py", 2)
    path = values[-1].partition(":")[0] if values else ""
    if values and not os.path.isfile(path):
        _leave(f"no config file {path!r} here; start from the root of the clone", 2)
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        _leave(str(error), 2)
    except AttributeError as error:  # ml_collections' way to say so, with a suggestion
        _leave(
            "no such key: "
            + str(error).replace("\\n", " ").translate(str.maketrans("", "", "\\'")),
            2,
        )
    except Exception as error:  # the config file is a program of the user's
        from sslx.types import UserError

        known = isinstance(error, UserError)
        _leave(str(error) if known else f"config: {type(error).__name__}: {error}", 2)
    if len(rest) > 1:
        _leave(f"unexpected {rest[1]!r} on the command line; flags start with --", 2)
    return rest


def main(argv: list[str]) -> None:
    """Carries the experiment out."""
    _carry_out(_CONFIG.value, _WORKDIR.value)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # PYTHONWARNINGS=error would end it in an import
    app.run(main, flags_parser=_parse)
