"""One study three times: straight through, by two processes, and killed six times.

Command: python -m tests.proofs.studies [SEED]
Time: 10 minutes on two cores.

Each run must be made once, however many processes there are, and the tables, records
and weights must be the same to the bit.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sslx.train import checkpoint
from tests import tiny

GRID = (
    ("steal.loss=mse", "steal.loss=infonce", "steal.attack=ssl_only steal.loss=own"),
    ("steal.queries=90", "steal.queries=300"),
    ("seed=0", "seed=1"),
)
SETTINGS = tiny.SETTINGS | {
    "study.grid": GRID,
    "victim.steps": 40,
    "steal.steps": 40,
    "steal.ssl.steps": 40,
    "steal.ssl.augment": "mild",
    "engine.save_every": 10,
}
KILLS = 6


def begin(workdir: Path) -> subprocess.Popen:
    """Starts the study and leaves it running."""
    return tiny.start(workdir, "--verbose", settings=SETTINGS)


def end(process: subprocess.Popen) -> list[str]:
    """The log of a process that must end well."""
    _, log = process.communicate()
    assert process.returncode == 0, log
    return log.splitlines()


def outcome(workdir: Path) -> dict[str, object]:
    """All that must be equal: the report's files and the weights."""
    (report,) = (workdir / "report").iterdir()
    files = ("results.csv", "differences.csv", "results.json", "report.md")
    found: dict[str, object] = {name: (report / name).read_bytes() for name in files}
    for run in sorted((*workdir.glob("victim/*"), *workdir.glob("steal/*"))):
        digest = run / "ckpt" / str(checkpoint.steps(run)[-1]) / "digest/metadata"
        found[f"{run.parent.name}/{run.name}"] = digest.read_text()
    return found


def made(log: list[str]) -> Counter:
    """How often each run was worked on, but for what was only taken up again."""
    return Counter(line.split(":")[0] for line in log if ": started: " in line)


def main(seed: int) -> int:
    """Says what was equal; 1 where something was not."""
    draw, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        straight, double, killed = (Path(folder) / name for name in "abc")
        began = time.monotonic()
        runs = made(end(begin(straight)))
        took = time.monotonic() - began
        print(f"one process: {len(runs)} runs in {took:.0f} s", flush=True)
        began = time.monotonic()
        logs = [end(p) for p in (begin(double), begin(double))]
        shares = [made(log) for log in logs]
        print(
            f"two processes: {sum(shares[0].values())} and {sum(shares[1].values())} "
            f"runs in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        both = shares[0] + shares[1]
        wrong += set(both) != set(runs) or max(both.values()) > 1
        print(f"runs made by both: {sum(n > 1 for n in both.values())}")
        for _ in range(KILLS):
            process = begin(killed)
            try:
                process.communicate(timeout=draw.uniform(0.08, 0.2) * took)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                last = [x for x in process.communicate()[1].splitlines() if "[" in x]
                print(f"killed at {last[-1] if last else 'its start'}", flush=True)
        end(begin(killed))
        want = outcome(straight)
        for name, other in (("two processes", double), ("killed", killed)):
            got = outcome(other)
            unlike = [k for k in want | got if want.get(k) != got.get(k)]
            wrong += bool(unlike)
            print(f"{name}: {len(want)} files and weights, unlike: {unlike or 'none'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 0))
