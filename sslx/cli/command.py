"""How programs run: quiet, and what a user can mend is one line."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress

import jax
from absl import logging as absl_logging

from sslx.runs.trouble import trouble
from sslx.train.pinned import pinned
from sslx.types import UserError


def quiet() -> None:
    """Silences what libraries say of files, threads and half-done work.

    What one of their threads meets reaches the main thread, too, and is told there;
    Orbax leaves half-done work behind when it meets a full disk or damaged files.
    """
    warnings.simplefilter("ignore")
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # no file of this process
            # A name that the locale cannot write is no reason to end.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def in_a_line(error: BaseException, place: str = "") -> str | None:
    """What to tell a user of an error; None for one that is no user's to mend.

    Args:
        error: The error.
        place: Where it happened, if the error itself does not know.
    """
    if isinstance(error, UserError):
        return str(error)
    return trouble(error, place) or (str(error) if isinstance(error, OSError) else None)


def reader_left() -> int:
    """Ends writing where the reader, `head` for one, has seen enough.

    Returns:
        The exit status of a program that does not care.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return 128 + signal.SIGPIPE


def command(main: Callable[[], int | None]) -> None:
    """Runs a program that reads runs.

    The exit status is 1 after an error that a user can mend. Reading takes no
    accelerator: another process may hold it.
    """
    quiet()
    jax.config.update("jax_platforms", "cpu")
    try:
        with pinned():
            status = main()
        sys.stdout.flush()
        if status:
            raise SystemExit(status)
    except BrokenPipeError:
        reader_left()
    except Exception as error:
        line = in_a_line(error)
        if line is None:
            raise
        print(f"sslx: {' '.join(line.split())}", file=sys.stderr)
        raise SystemExit(1) from None
