"""Several ways to do one thing, each in processes of its own, taking turns.

A machine that slows down then slows all of them, and ratios of medians within a run
mean something where seconds do not. ``benchmarks.child`` is what runs in a process.
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
        seconds: Of each timed step.
        first: Seconds to build and take the first step, one a round. In the first
            round everything is compiled, later ones find it in the run's own cache.
        peak_bytes: The most memory a process (on an accelerator: the device) held.
        versions: Of its interpreter.
        accelerator: Name of the device; "" on a CPU.
    """

    seconds: list[float]
    first: list[float]
    peak_bytes: int
    versions: dict[str, str]
    accelerator: str

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)


def ask(settings: dict[str, Any], python: str, env: dict[str, str]) -> dict[str, Any]:
    """Runs ``benchmarks.child`` and returns what it says."""
    done = subprocess.run(
        [python, "-m", "benchmarks.child", json.dumps(settings)],
        env=os.environ | env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{settings}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(ways: Sequence[Way], rounds: int) -> dict[str, Timed]:
    """Runs each way once a round; a way that fails is said and left out."""
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
            seconds=[s for one in each for s in one["seconds"]],
            first=[one["first"] for one in each],
            peak_bytes=max(one["peak_bytes"] for one in each),
            versions=each[0]["versions"],
            accelerator=each[0]["accelerator"],
        )
        for name, each in said.items()
        if each and name not in broken
    }


def about(python: str = sys.executable) -> dict[str, Any]:
    """``versions`` and ``accelerator`` of an interpreter, asked in a process.

    The asking process must not open an accelerator itself: it would keep its memory.
    """
    return ask({"kind": "about"}, python, {"TF_CPP_MIN_LOG_LEVEL": "3"})
