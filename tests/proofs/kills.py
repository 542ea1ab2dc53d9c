"""Ten SIGKILLs spread over an experiment; the end must equal an undisturbed one.

Command: python -m tests.proofs.kills [SEED] [rounds]
Time: 2 to 3 minutes on two cores. The suite has a small version, tests/test_resume.py.

With "rounds" the images are asked in three rounds by two accounts, and the stealer's
network and a projection head are trained before.
"""

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests import tiny
from tests.test_resume import ROUNDS, outcome

# Stage to be killed in, and the longest wait (s) after it has begun. Many small calls
# make the querying last.
KILLS = (
    [("victim", 4.0)] * 4
    + [("responses", 1.0)] * 2
    + [("steal", 4.0)] * 2
    + [("probe", 1.0)] * 2
)
SETTINGS = {
    "study.grid": (),
    "service.call_size": 8,
    "engine.save_every": 20,
}


def kill_in(workdir, settings, stage, delay):
    """Kills a launch that long after the stage has begun; says what it was doing."""
    process = tiny.start(workdir, "--verbose", settings=settings)
    last = "nothing"
    for line in process.stderr:
        if ": started" in line or ": taken up" in line:
            last = line.split("[")[-1].split()[0].rstrip("]")
        if last == stage:
            break
    time.sleep(delay)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    for line in process.stderr:
        if ": started" in line or ": taken up" in line:
            last = line.split("[")[-1].split()[0].rstrip("]")
    process.wait()
    return last if alive else "too late"


def main(seed: int, more: dict) -> int:
    draw, settings = random.Random(seed), SETTINGS | more
    with tempfile.TemporaryDirectory() as folder:
        straight, killed = Path(folder) / "straight", Path(folder) / "killed"
        undisturbed = tiny.start(straight, settings=settings)
        undisturbed.communicate()
        assert undisturbed.returncode == 0
        hits = 0
        for stage, longest in KILLS:
            delay = draw.uniform(0, longest)
            where = kill_in(killed, settings, stage, delay)
            hits += where == stage
            print(f"killed {delay:5.2f} s after {stage} began: {where}", flush=True)
        last = tiny.start(killed, settings=settings)
        print(last.communicate()[1].splitlines()[-1])
        assert last.returncode == 0
        want, got = outcome(straight), outcome(killed)
        for part in want:
            print(f"{part}: {'equal' if got[part] == want[part] else 'DIFFERENT'}")
        print(got["ledger"])
        print(f"rows: {[len(found[1]) for key, found in got.items() if '/' in key]}")
        print(f"{hits} of {len(KILLS)} kills hit the stage they were meant for")
        return 0 if got == want and hits >= 8 else 1


if __name__ == "__main__":
    words = sys.argv[1:]
    more = ROUNDS if "rounds" in words else {}
    seeds = [int(word) for word in words if word != "rounds"]
    sys.exit(main(seeds[0] if seeds else 0, more))
