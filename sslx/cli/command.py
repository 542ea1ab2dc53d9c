"""How the subcommands of ``sslx`` run."""

import logging
import os
import sys
import warnings
from collections.abc import Callable

import jax
from absl import logging as absl_logging

from sslx.types import UserError


def command(main: Callable[[], int | None]) -> None:
    """Runs a program that reads runs: quiet, and what a user can mend is one line.

    The exit status is 1 after such a line. Reading takes no accelerator: another
    process may hold it.
    """
    warnings.simplefilter("ignore")
    # Orbax leaves half-done work behind when it meets damaged files.
    sys.unraisablehook = lambda _: None
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    jax.config.update("jax_platforms", "cpu")
    try:
        status = main()
        sys.stdout.flush()
        if status:
            raise SystemExit(status)
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        print(f"sslx: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
