"""What follows from accounts' keys, kept for a while: a process makes it seldom."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

NAME = 512  # bytes that a name takes, more or less; some have no arrays

P = ParamSpec("P")
T = TypeVar("T")


class Shelf:
    """Arrays by name, so many bytes of them; what was used longest ago goes first."""

    def __init__(self, most: int):
        self.most, self.held, self.lock = most, 0, Lock()
        self.known: OrderedDict[Any, Any] = OrderedDict()

    def find(self, name: Any, make: Callable[[], T]) -> T:
        """What has the name, made where it is not there. The last one always stays."""
        with self.lock:
            if name in self.known:
                self.known.move_to_end(name)
                return self.known[name]
            made = self.known[name] = make()
            self.held += _bytes(made)
            while self.held > self.most and len(self.known) > 1:
                self.held -= _bytes(self.known.popitem(last=False)[1])
            return made


SHELF = Shelf(2**28)


def kept(make: Callable[P, T]) -> Callable[P, T]:
    """A function of an account's key whose arrays are kept, 256 MB of all defences.

    That is a dense transform of 128 accounts at a time where answers have 512 numbers
    (2 MB each), and of 8 where they have 2,048. If more take turns, every call makes
    its account's anew: of 512 numbers that took 2 ms for the planes of
    ``near_duplicates``, 1 ms for those of buckets or a dense transform, and 24 ms for
    an orthogonal one (one core, the best of three).

    Args:
        make: Of values that can be looked up; gives an array or a tuple of them.
    """

    @wraps(make)
    def found(*args: P.args, **kwargs: P.kwargs) -> T:
        name = (make, args, tuple(sorted(kwargs.items())))
        return SHELF.find(name, lambda: make(*args, **kwargs))

    return found


def _bytes(made: Any) -> int:
    arrays = made if isinstance(made, tuple) else (made,)
    return NAME + sum(array.nbytes for array in arrays)
