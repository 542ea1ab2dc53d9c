"""What each augmentation preset costs, beside a training step, on CPUs.

Command: python -m benchmarks.augment_cost
Time: 3 minutes with --rounds 2 on two cores (docs/performance.md);
seconds go to benchmarks/results/augment_cost.jsonl.

Views alone are timed, one process, everything in turn, so that a machine that slows
down slows all of it; medians over all rounds. A preset of 32 pixels is compared with
SimCLR steps without augmentation (forward, backward, update), the batch being the same;
those of 224 pixels are given per image.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

from benchmarks.record import record

BATCH = 256
LARGE_BATCH = 32  # of 224 pixels
DEVICES = 8  # emulated
ENCODERS = ("conv3", "resnet18")


def _views(name: str, batch: int, size: int) -> Callable[[], None]:
    """A function that makes all views of a batch, uint8 to float32."""
    from sslx.build import make_views
    from sslx.data.presets import PRESETS
    from sslx.train.mesh import data_mesh, replicated, split_rows

    preset = [recipe._asdict() for recipe in PRESETS[name]]
    views = make_views({"augment": preset, "mean": [0.5], "std": [0.25]})
    mesh = data_mesh(batch)
    rows = split_rows(mesh)
    made = jax.jit(views, in_shardings=(replicated(mesh), rows), out_shardings=rows)
    shape = (batch, size, size, 3)
    images = np.random.RandomState(0).randint(0, 256, shape, np.uint8)
    key = jax.random.key(0)
    return lambda: jax.block_until_ready(made(key, images))


def _step(case: str, batch: int, width: int) -> Callable[[], None]:
    """A SimCLR step without augmentation."""
    from benchmarks.steps import make_config, make_stepper, training_of, victim_recipe

    config = make_config(case, batch_size=batch, width=width)
    recipe = victim_recipe(config, plain=True)
    return make_stepper(training_of(recipe), per_dispatch=1).call


def _times(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, after a call that compiles."""
    for name, way in ways.items():
        print(f"compiling {name}", file=sys.stderr, flush=True)
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            way()  # finds the caches full of another program's data
            began = time.perf_counter()
            way()
            found[name].append(time.perf_counter() - began)
    return found


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--width", type=int, default=0, help="for a trial: narrower")
    parser.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = parser.parse_args(argv)
    if args.tiny:
        args.rounds, args.batch, args.width = 1, 16, 4
    return args


def main() -> None:
    """Times everything and prints the tables."""
    args = parse()
    jax.config.update("jax_num_cpu_devices", DEVICES)

    from benchmarks.child import accelerator
    from benchmarks.steps import SIZE
    from sslx.data.presets import PRESETS

    ways = {e: _step(e, args.batch, args.width) for e in ENCODERS}
    large = min(args.batch, LARGE_BATCH)
    small = [n for n in PRESETS if not n.endswith("_imagenet")]
    big = [n for n in PRESETS if n.endswith("_imagenet")]
    ways |= {n: _views(n, args.batch, SIZE) for n in small}
    ways |= {n: _views(n, large, 224) for n in big}
    times = _times(ways, args.rounds)
    seconds = {name: statistics.median(each) for name, each in times.items()}
    if not args.tiny:
        rows = [{"way": n, "median": seconds[n], "seconds": times[n]} for n in ways]
        record("augment_cost", rows, accelerator=accelerator(), batch=args.batch)

    print(f"JAX {jax.__version__}, {DEVICES} emulated devices, batch {args.batch};")
    print(", ".join(f"{e} step {1e3 * seconds[e]:.0f} ms" for e in ENCODERS))
    print(f"\n| {SIZE} pixels | views | ms | of a conv3 step | of a resnet18 step |")
    print("|---|---|---|---|---|")
    for n in small:
        shares = (f"{100 * seconds[n] / seconds[e]:.1f} %" for e in ENCODERS)
        views, ms = len(PRESETS[n]), 1e3 * seconds[n]
        print(f"| {n} | {views} | {ms:.1f} | {' | '.join(shares)} |")
    print("\n| 224 pixels | views | ms an image |\n|---|---|---|")
    for n in big:
        print(f"| {n} | {len(PRESETS[n])} | {1e3 * seconds[n] / large:.2f} |")


if __name__ == "__main__":
    main()
