"""What a stage has to do, as a list that one process or several can work off."""

from collections.abc import Callable
from typing import NamedTuple

from sslx.runs.names import Run


class Work(NamedTuple):
    """Runs that are made together, mostly one.

    Attributes:
        runs: Those that are finished afterwards.
        do: Makes what is missing of them; holds them meanwhile.
    """

    runs: tuple[Run, ...]
    do: Callable[[], None]


def once(works: list[Work]) -> list[Work]:
    """Without those whose runs have all been named before."""
    seen: set = set()
    out = []
    for work in works:
        if not seen.issuperset(run.path for run in work.runs):
            out.append(work)
            seen.update(run.path for run in work.runs)
    return out
