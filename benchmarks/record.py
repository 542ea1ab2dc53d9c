"""What every benchmark does with its figures: a table to read, a line of JSON to keep.

A line of ``benchmarks/results/NAME.jsonl`` is one run: when, of which commit, by which
command, on what machine, with which versions, and every row of the table with the raw
seconds behind it. No paths and no host names.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Networks that are timed; "default" is the embedded one (benchmarks.steps).
CASES = ("default", "conv3", "resnet18", "resnet34", "resnet50")
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Of Python and of the libraries that are installed here."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _commit() -> str:
    """The commit, with a plus where tracked files differ from it."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _command() -> str:
    """The command line; what looks like a path is left out."""
    module = Path(sys.argv[0]).stem
    words = ["PATH" if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["python -m", f"benchmarks.{module}", *words])


def record(
    name: str, rows: Sequence[dict[str, Any]], *, accelerator: str, **more: Any
) -> None:
    """Appends a run to ``results/NAME.jsonl``.

    Args:
        name: Of the benchmark.
        rows: What its table shows, with raw seconds; JSON types only.
        accelerator: Name of the device; "" on a CPU.
        **more: Whatever else belongs to the run as a whole.
    """
    line = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "command": _command(),
        "machine": {
            "cpu": cpu_model(),
            "cores": cores(),
            "accelerator": accelerator,
        },
        "versions": versions(),
        "environment": {
            k: v
            for k, v in os.environ.items()
            if k.startswith(("MALLOC_", "XLA_FLAGS"))
        },
        **more,
        "rows": list(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown of a table; numbers as the caller has written them."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def three(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{value:e}".partition("e")[2]))
    return f"{value:,.{digits}f}"
