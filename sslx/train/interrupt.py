"""SIGTERM and Ctrl-C as a flag, so that a step ends and its state is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """The run was asked to stop and has saved what it had.

    No Exception, as KeyboardInterrupt is none: whoever turns the errors of a library
    into a message of his own must let it through.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def stop_at_once() -> None:
    """Makes SIGTERM raise ``Stopped``, for the work that saves itself as it goes."""

    def leave(number, frame):
        raise Stopped("stopped", number)

    signal.signal(signal.SIGTERM, leave)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int]]:
    """Within the block, returns a function that gives the signal received, else 0."""
    received = [0]
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # only the main thread may set handlers
        return

    def note(number, frame):
        received[0] = number

    before = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
