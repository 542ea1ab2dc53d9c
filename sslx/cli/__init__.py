"""The command ``sslx``: one module a subcommand, imported when it is called."""

import importlib
import sys
import warnings

from sslx.version import __version__

# Name -> what it does, in a line. The module of that name here has ``main(argv)``.
COMMANDS = {
    "inspect": "shows a run, or all runs of a workdir",
    "export": "writes the encoder of a run as safetensors",
    "report": "makes a report of finished runs",
    "prepare": "downloads and prepares data sets",
    "detect": "tells who of the accounts of a service behaves like a thief",
}


def usage() -> str:
    """What the command can do."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: sslx COMMAND ...", "", *lines, "", "sslx COMMAND --help"])


def main(argv: list[str] | None = None) -> None:
    """Runs a subcommand; its exit status is the program's."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help", "help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif name in COMMANDS:
        # Not before it is wanted: most of the start-up time is imports.
        warnings.simplefilter("ignore")  # PYTHONWARNINGS=error would end an import
        try:
            command = importlib.import_module("sslx.cli.command")
            module = importlib.import_module(f"sslx.cli.{name}")
        except ValueError as error:  # a variable that JAX or Flax cannot make sense of
            print(f"sslx: environment: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        command.command(lambda: module.main(rest))
    else:
        print(f"sslx: no command {name!r}" if name else usage(), file=sys.stderr)
        if name:
            known = ", ".join(COMMANDS)
            print(f"sslx: known are {known}", file=sys.stderr)
        raise SystemExit(2)
