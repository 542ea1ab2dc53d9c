"""What a run tells machines: rows and events."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from sslx import hosts
from sslx.runs.files import replacing

ROWS = "metrics.jsonl"
WATCHED = "watch.jsonl"
_FLUSH = 120  # seconds between two of TensorBoard's events to the disk

# ``add(step, metrics, file=ROWS)``, metrics as floats: adds a row to the file, WATCHED
# being there only if it was named, and in TensorBoard under ``watch/``.
Logbook = Callable[..., None]


def read_rows(folder: Path, name: str = ROWS) -> list[dict]:
    """The rows logged so far; a line that a kill cut short is left out."""
    rows = []
    path = folder / name
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _drop_after(folder: Path, name: str, step: int) -> None:
    kept = [row for row in read_rows(folder, name) if row["step"] <= step]
    with replacing(folder / name) as file:
        file.write("".join(json.dumps(row) + "\n" for row in kept).encode())


@contextmanager
def open_logbook(folder: Path, step: int) -> Iterator[Logbook]:
    """Opens the run's log to go on after ``step``.

    Rows past that step are dropped: the run was killed after it wrote them and is
    about to write them again. Rows hold no times, so that they are a function of the
    run alone. Of several processes the first alone writes.
    """
    if not hosts.first():
        yield lambda *row: None
        return
    _drop_after(folder, ROWS, step)
    if (folder / WATCHED).exists():
        _drop_after(folder, WATCHED, step)
    with _open_board(folder / "tensorboard", step) as show:

        def add(step: int, metrics: dict[str, float], file: str = ROWS) -> None:
            # Closed at once, or a kill loses all rows since the last flush.
            with open(folder / file, "a", encoding="utf-8") as rows:
                rows.write(json.dumps({"step": step, **metrics}) + "\n")
            prefix = "watch/" if file == WATCHED else ""
            show(step, {prefix + name: value for name, value in metrics.items()})

        yield add


@contextmanager
def _open_board(
    folder: Path, step: int
) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Opens a file of TensorBoard's events to go on after ``step``.

    Written here, not by tensorboardX's thread: where that one meets a full disk, it
    dies, and the training waits for it for ever.
    """
    folder.mkdir(exist_ok=True)
    file = EventsWriter(str(folder / "events"))
    # TensorBoard hides what an earlier file has from this step on.
    file.write_event(Event(step=step + 1, file_version="brain.Event:2"))
    start = SessionLog(status=SessionLog.START)
    file.write_event(Event(step=step + 1, session_log=start))
    flushed = time.monotonic()

    def show(step: int, metrics: dict[str, float]) -> None:
        nonlocal flushed
        for name, value in metrics.items():
            event = Event(step=step, summary=scalar(name, value))
            event.wall_time = time.time()
            file.write_event(event)
        if time.monotonic() > flushed + _FLUSH:
            file.flush()
            flushed = time.monotonic()

    try:
        yield show
    finally:
        file.close()
