"""SIGTERM and Ctrl-C as a flag, so that a step ends and its state is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """The run was asked to stop and has saved what it had.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


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
