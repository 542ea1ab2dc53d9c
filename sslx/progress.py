"""What people are told while something takes long; every floor may use it.

Of several processes the first alone speaks.
"""

import sys

# JAX has no public way to ask this without starting its backend.
from jax._src.distributed import global_state as _job
from tqdm import tqdm


def _first() -> bool:
    return _job.process_id == 0


def say(text: str) -> None:
    """One line on standard error, above any progress bar."""
    if _first():
        tqdm.write(text, file=sys.stderr)


def progress(total: int, initial: int, what: str, unit: str, **more) -> tqdm:
    """A bar on standard error with rate and time left, where the work takes seconds.

    Rare lines where no terminal shows it.

    Args:
        total: Units of work.
        initial: How many are done already.
        what: What is being done.
        unit: What is counted.
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
        delay=2.0,
        leave=False,
        disable=not _first(),
        **more,
    )
