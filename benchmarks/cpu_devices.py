"""SimCLR steps on the built-in digits over 1, 2, 4 and 8 emulated CPU devices.

Command: python -m benchmarks.cpu_devices
Time: about 3 minutes on two cores. Recorded in docs/measurements.md.
"""

import statistics
import subprocess
import sys

COUNTS = (1, 2, 4, 8)
ROUNDS = 3

CHILD = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import jax
from pathlib import Path
from configs import digits_direct
from sslx.engine.mesh import data_mesh, replicated, start
from sslx.engine.rng import rows_at
from sslx.engine.step import init_state, make_step, make_update
from sslx.stages.experiment import resolve
from sslx.stages.train import make_objective, make_training
from sslx import data

c = digits_direct.get_config()
start(cpu_devices=int(sys.argv[1]), compile_cache=c.engine.compile_cache)
run = resolve(c, Path("unused")).victim
r = run.recipe
images = data.load("digits", "train").images
t = make_training(run, make_objective(r), {"images": images})
mesh = data_mesh(t.batch_size)

def batch(step):
    images = t.data["images"]
    return {"images": images[rows_at(0, len(images), t.batch_size, step)]}

def init(b):
    return init_state(t.objective, t.optimiser, t.seed, b)

state = jax.jit(init, out_shardings=replicated(mesh))(batch(0))
step = make_step(make_update(t.objective, t.optimiser, t.schedule, t.seed), mesh)
times = []
for i in range(60):
    began = time.perf_counter()
    state, metrics = step(state, batch(i))
    jax.block_until_ready(state)
    times.append(time.perf_counter() - began)
print(sorted(times[10:])[25])
"""


def main() -> None:
    """Alternates the counts, so that a drift of the machine meets all of them."""
    found: dict[int, list[float]] = {n: [] for n in COUNTS}
    for _ in range(ROUNDS):
        for n in COUNTS:
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(n)],
                check=True,
                capture_output=True,
                text=True,
            )
            found[n].append(1000 * float(done.stdout))
    base = statistics.median(found[1])
    print("| devices | median step, ms | of one device |\n|---|---|---|")
    for n, times in found.items():
        median = statistics.median(times)
        print(f"| {n} | {median:.1f} | {median / base:.2f} |")


if __name__ == "__main__":
    main()
