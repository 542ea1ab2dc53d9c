"""What a run tells machines: rows and events."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboardX import SummaryWriter

from sslx import hosts
from sslx.runs.files import replacing

ROWS = "metrics.jsonl"
WATCHED = "watch.jsonl"


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
    with SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1) as board:

        def add(step: int, metrics: dict[str, float], file: str = ROWS) -> None:
            # Closed at once, or a kill loses all rows since the last flush.
            with open(folder / file, "a") as rows:
                rows.write(json.dumps({"step": step, **metrics}) + "\n")
            prefix = "watch/" if file == WATCHED else ""
            for name, value in metrics.items():
                board.add_scalar(f"{prefix}{name}", value, step)

        yield add
