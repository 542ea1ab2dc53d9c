"""What people are told while something takes long; every floor may use it.

Of several processes the first alone speaks.
"""

import sys
from functools import cache

from tqdm import tqdm

from sslx import hosts
from sslx.types import printable

_verbose = False


def be_verbose(verbose: bool) -> None:
    """Whether ``detail`` speaks, in this process."""
    global _verbose
    _verbose = verbose


def say(text: str) -> None:
    """One line on standard error, above any progress bar."""
    if hosts.first():
        tqdm.write(text, file=sys.stderr)


@cache
def say_once(text: str) -> None:
    """The same, of what is found out more than once; names in it may hold anything."""
    say(printable(text))


def detail(text: str) -> None:
    """The same, for those who asked for every name (``--verbose``)."""
    if _verbose:
        say(text)


def progress(
    total: int, initial: int, what: str, unit: str, quiet: bool = False, **more
) -> tqdm:
    """A bar on standard error with rate and time left, where the work takes seconds.

    Rare lines where no terminal shows it.

    Args:
        total: Units of work.
        initial: How many are done already.
        what: What is being done.
        unit: What is counted.
        quiet: Whether it counts without being shown.
        **more: Further settings of tqdm.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 15.0,
        delay=3.0,
        leave=False,
        disable=quiet or not hosts.first(),
        **more,
    )


def duration(seconds: float) -> str:
    """Seconds in words: ``0.4 s``, ``85 s``, ``12 min``, ``3.2 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
