"""What the parts of a study cost, and what starting costs.

Command: python -m benchmarks.parts [--net conv3 ...]
Time: about 5 minutes for conv3 on two cores, 15 with resnet18.
Recorded in docs/performance.md and benchmarks/results/parts.jsonl.

For each network, in turn and each in processes of its own: the SimCLR step, the theft
step (attack "direct", mse and infonce), features of images, and the data alone (order,
gathering, placing); with the first step's time, cold and from the compilation cache,
and the most memory held. Then a tiny experiment from the command line, twice, with an
empty and with a filled compilation cache. Augmentation alone: benchmarks.augment_cost.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import CASES, record, table, three
from benchmarks.turns import Way, about, in_turn

ROOT = Path(__file__).parents[1]
FEATURES, DATA = 2048, 50_000  # images
HEAD = ("part", "ms", "images/s", "first, cold, s", "cached, s", "peak MiB")
# Of the tiny experiment, on the command line; it is only there to be started.
TINY = {
    "victim.steps": 12,
    "victim.watch_every": 0,
    "steal.steps": 12,
    "steal.queries": 300,
    "study.grid": (),
    "probe.l2_grid": (1e-2, 1e-1),
}


def ways(case: str, args: argparse.Namespace) -> list[tuple[Way, int]]:
    """The parts of a network, and how many images each call works on."""
    base = {
        "case": case,
        "batch_size": args.batch,
        "plain": False,
        "precision": args.precision,
        "width": args.width,
        "devices": args.devices,
        "seconds": args.seconds,
    }
    few = min(FEATURES, 16 * args.batch)
    parts: list[tuple[str, dict[str, Any], int]] = [
        ("SimCLR step", {"kind": "jax"}, args.batch),
        ("theft step, mse", {"kind": "theft", "loss": "mse"}, args.batch),
        ("theft step, infonce", {"kind": "theft", "loss": "infonce"}, args.batch),
        ("features", {"kind": "features", "images": few}, few),
    ]
    named = [(f"{case}, {name}", more, n) for name, more, n in parts]
    return [(Way(name, base | more), n) for name, more, n in named]


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each part."""
    chosen = [pair for case in args.net for pair in ways(case, args)]
    data = chosen[0][0].settings | {"kind": "data", "images": DATA}
    chosen.append((Way("data alone", data), args.batch))
    images = {way.name: n for way, n in chosen}
    found = in_turn([way for way, _ in chosen], args.rounds)
    return [
        {"part": name, "images": images[name], **t.row()} for name, t in found.items()
    ]


def start_up(rounds: int) -> dict[str, list[float]]:
    """Seconds of a tiny experiment from the command line, cold and cached; of imports.

    Each round begins with an empty compilation cache.
    """
    found: dict[str, list[float]] = {"imports": [], "cold": [], "cached": []}
    flags = [f"--config.{key}={value}" for key, value in TINY.items()]
    launch = ["launch.py", "--config=configs/digits_direct.py", *flags]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            env = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/xla"}
            imports = ["-c", "import sslx.stages"]
            found["imports"].append(_seconds(imports, env))
            for name in ("cold", "cached"):
                run = [*launch, f"--workdir={folder}/{name}"]
                found[name].append(_seconds(run, env))
    return found


def _seconds(words: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | env,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def _cells(row: dict[str, Any]) -> list[str]:
    first = row["first"]
    return [
        row["part"],
        three(1e3 * row["median"]),
        three(row["images"] / row["median"]),
        three(first[0]),
        three(statistics.median(first[1:])) if first[1:] else "",
        f"{row['peak_bytes'] / 2**20:.0f}",
    ]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--net", nargs="+", choices=CASES, default=["default", "conv3"])
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--devices", type=int, default=8, help="emulated, on a CPU")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5.0, help="of a part in a round")
    p.add_argument("--width", type=int, default=0, help="for a trial: narrower")
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if args.tiny:
        args.net, args.batch, args.width, args.devices = ["conv3"], 16, 4, 2
        args.rounds, args.seconds = 1, 0.2
    return args


def main() -> None:
    """Measures and prints both tables."""
    args = parse()
    accelerator = about()["accelerator"]
    rows = measure(args)
    print(table(HEAD, [_cells(row) for row in rows]), flush=True)
    start = start_up(args.rounds)
    if not args.tiny:
        record("parts", rows, accelerator=accelerator, start_up=start)
    lines = [[name, three(statistics.median(s))] for name, s in start.items()]
    print("\n" + table(["a tiny experiment, start to end", "s"], lines))


if __name__ == "__main__":
    main()
