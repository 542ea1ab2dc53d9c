"""Images per second of a SimCLR step on CPUs, for several ways to run it.

Command: python -m benchmarks.simclr_step conv3 | resnet18
Time: conv3 about 5 minutes, resnet18 about 20, on two cores. Recorded in
docs/performance.md.

Each way is a process of its own, and the ways take turns, so that a machine that slows
down slows all of them; the table compares medians over all rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import jax

from benchmarks.steps import SIZE

ROUNDS = 3
STEPS = 6  # timed, after one that compiles
BASE = {
    "devices": 1,
    "batch": 128,
    "dtype": "float32",
    "augment": "simclr",
    "width": 0,
}
# What the table calls a way, and what it changes of the base.
WAYS = [
    ("one device", {}),
    ("2 emulated devices", {"devices": 2}),
    ("4 emulated devices", {"devices": 4}),
    ("8 emulated devices", {"devices": 8}),
    ("8 devices, batch 256", {"devices": 8, "batch": 256}),
    ("8 devices, no augmentation", {"devices": 8, "augment": "twice"}),
    ("8 devices, bfloat16", {"devices": 8, "dtype": "bfloat16"}),
]


def child(encoder: str, settings: dict) -> None:
    """Prints the seconds of each timed step as JSON."""
    jax.config.update("jax_num_cpu_devices", settings["devices"])

    from benchmarks.steps import make_stepper

    step = make_stepper(
        encoder,
        batch_size=settings["batch"],
        augment=settings["augment"],
        precision=settings["dtype"],
        width=settings["width"],
    )
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[1:]))


def _timed(encoder: str, settings: dict) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.simclr_step", encoder, "--child"]
    done = subprocess.run(
        [*command, json.dumps(settings)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs all ways and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("encoder", choices=["conv3", "resnet18"])
    parser.add_argument("--width", type=int, default=0, help="for a trial: narrower")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.encoder, json.loads(args.child))
    rates: dict[str, list[float]] = {name: [] for name, _ in WAYS}
    for turn in range(ROUNDS):
        for name, changes in WAYS:
            settings = BASE | changes | {"width": args.width}
            print(f"round {turn + 1}: {name}", file=sys.stderr, flush=True)
            seconds = _timed(args.encoder, settings)
            rates[name] += [settings["batch"] / s for s in seconds]
    base = statistics.median(rates[WAYS[0][0]])
    print(f"JAX {jax.__version__}, {args.encoder}, {SIZE} pixels")
    print("| way | images/s, median | best | of one device |\n|---|---|---|---|")
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"| {name} | {median:.0f} | {max(found):.0f} | {median / base:.2f} |")


if __name__ == "__main__":
    main()
