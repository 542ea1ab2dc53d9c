"""What a machine lacks (room, rights, memory, files), out of any library's error."""

import errno
import os
from collections.abc import Iterator

_KEPT = "what was saved is kept, and the same command goes on from there"

# What happened -> what to do; also where a library gives it as text alone.
_MENDS = {
    errno.ENOSPC: f"make room there ({_KEPT})",
    errno.EDQUOT: f"make room there, or have the quota raised ({_KEPT})",
    errno.EROFS: "name another place to write to",
    errno.EEXIST: "a file, or a link to nothing, is in the place of a folder; move it",
    errno.ENOTDIR: "a file is in the place of a folder; move it, or name another place",
    errno.ELOOP: "its links lead in a circle; name another place",
    errno.EACCES: "have its owner grant the right, or name another place",
    errno.EPERM: "have its owner grant the right, or name another place",
    errno.EMFILE: f"raise the limit, ulimit -n 4096 ({_KEPT})",
    errno.EFBIG: f"raise the limit of a file's size, ulimit -f ({_KEPT})",
    errno.ENFILE: f"close other programs ({_KEPT})",
    errno.ENAMETOOLONG: "name a shorter place",
    errno.EIO: f"look after the disk ({_KEPT})",
    errno.ESTALE: f"mount it again ({_KEPT})",
}
_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "bad_alloc")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _chain(one)
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _of_files(error: BaseException, place: str) -> str | None:
    text = str(error)
    for code, mend in _MENDS.items():
        what = os.strerror(code)
        if isinstance(error, OSError):
            known, place = error.errno == code, error.filename or place
        else:  # TensorStore's; files are named in quotes, among much else
            known = what in text
            place = ([p for p in text.split('"')[1::2] if "/" in p] or [place])[-1]
        if known:
            return f"{what}{place and f': {place}'}; {mend}"
    return None


def trouble(error: BaseException, place: str = "") -> str | None:
    """What the machine lacks, in one line with what to do; None for any other error.

    Args:
        error: The error; those that led to it are looked at, too.
        place: Where it happened, if none of them knows.
    """
    for one in _chain(error):
        if line := _of_files(one, place):
            return line
        of_xla = isinstance(one, RuntimeError)  # JAX's own, and of C++
        if isinstance(one, MemoryError) or (
            of_xla and any(word in str(one) for word in _MEMORY)
        ):
            first = (str(one).splitlines() or [""])[0][:200]
            return (
                f"out of memory{first and f' ({first})'}; lower a batch_size or the "
                "encoder's width, set engine.data_on_device=False, or end what else "
                f"runs there ({_KEPT})"
            )
    return None
