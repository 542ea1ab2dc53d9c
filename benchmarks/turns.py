"""Several ways to do one thing, each in processes of its own, taking turns.

A machine that slows down then slows all of them: what means something are ratios
within a round, and how far those of several rounds lie apart. ``benchmarks.child`` is
what runs in a process.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple


class Way(NamedTuple):
    """One way.

    Attributes:
        name: What the table calls it.
        settings: What ``benchmarks.child`` is told.
        python: The interpreter.
    """

    name: str
    settings: dict[str, Any]
    python: str = sys.executable


class Timed(NamedTuple):
    """What came of a way over all rounds.

    Attributes:
        rounds: Seconds of each timed step, a list a round.
        first: Seconds to build and take the first step, imports excluded, one a round.
            In the first round everything is compiled, later ones find it in the run's
            own cache.
        peak_bytes: The most memory a process (on an accelerator: the device) held.
    """

    rounds: list[list[float]]
    first: list[float]
    peak_bytes: int

    @property
    def seconds(self) -> list[float]:
        """Of each timed step, round after round."""
        return [s for one in self.rounds for s in one]

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)

    def row(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"median": self.median, **self._asdict()}


class Ratio(NamedTuple):
    """How many times as fast a way is as another: median and range of the rounds."""

    median: float
    lowest: float
    highest: float

    def __str__(self):
        if self.lowest == self.highest:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})"


def times_as_fast(way: Timed, base: Timed) -> Ratio:
    """Of each round by itself, medians of its seconds."""
    each = [
        statistics.median(theirs) / statistics.median(own)
        for own, theirs in zip(way.rounds, base.rounds, strict=True)
    ]
    return Ratio(statistics.median(each), min(each), max(each))


def ask(settings: dict[str, Any], python: str, env: dict[str, str]) -> dict[str, Any]:
    """Runs ``benchmarks.child`` and returns what it says."""
    done = subprocess.run(
        [python, "-m", "benchmarks.child", json.dumps(settings)],
        # Of several GPUs JAX would take all, PyTorch one.
        env={"CUDA_VISIBLE_DEVICES": "0"} | os.environ | env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{settings}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(ways: Sequence[Way], rounds: int) -> dict[str, Timed]:
    """Runs each way once a round; one that fails is reported and left out."""
    said: dict[str, list[dict[str, Any]]] = {way.name: [] for way in ways}
    broken = set()
    with tempfile.TemporaryDirectory() as cache:
        env = {
            "JAX_COMPILATION_CACHE_DIR": f"{cache}/xla",
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        for turn in range(rounds):
            for way in ways:
                if way.name in broken:
                    continue
                print(f"round {turn + 1}: {way.name}", file=sys.stderr, flush=True)
                try:
                    said[way.name].append(ask(way.settings, way.python, env))
                except RuntimeError as error:
                    print(f"{way.name} is left out: {error}", file=sys.stderr)
                    broken.add(way.name)
    return {
        name: Timed(
            rounds=[one["seconds"] for one in each],
            first=[one["first"] for one in each],
            peak_bytes=max(one["peak_bytes"] for one in each),
        )
        for name, each in said.items()
        if each and name not in broken
    }


def about(python: str = sys.executable) -> dict[str, Any]:
    """``versions`` of an interpreter, and the ``accelerator`` of JAX and of ``torch``.

    Both are names of devices, "" for a CPU; None where PyTorch is missing.
    The asking process must not open an accelerator itself: it would keep its memory.
    """
    return ask({"kind": "about"}, python, {"TF_CPP_MIN_LOG_LEVEL": "3"})
