"""Progress bars for reading and downloading."""

import sys

from tqdm import tqdm


def waiting(what: str, total: int | None, unit: str = "image", **kw) -> tqdm:
    """A bar on standard error that shows only where the work takes seconds."""
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 15.0,
        delay=2.0,
        leave=False,
        **kw,
    )
