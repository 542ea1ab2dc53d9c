"""The SimCLR step of this program against an equal one in PyTorch.

Command: python -m benchmarks.against_torch [--net conv3 ...] [--python PATH ...]
Time: on two cores about 8 minutes for default and conv3, 25 for resnet18 (3 rounds).
Recorded in docs/performance.md and benchmarks/results/against_torch.jsonl.

Needs PyTorch (pip install -e .[bench]) in the interpreter that runs it. A step is
augmentation, forward, backward, update; images of noise. Ways take turns, each in a
process of its own; ratios are of medians within the run, above 1 where this program is
faster. ``--check`` shows that both compute the same. ``--python`` names further
interpreters in which this program runs too, with another JAX, say.

On a CPU: emulated devices against PyTorch's layouts and, if asked for, its compiler
(``--compile``). On a GPU: bfloat16 by default, several steps a dispatch against
channels_last with autocast, compiled.
"""

import argparse
import sys
from typing import Any

from benchmarks.record import record, table, three
from benchmarks.turns import Timed, Way, about, in_turn

CASES = ("default", "conv3", "resnet18", "resnet34", "resnet50")
BASE = {"augment": "", "precision": "float32", "width": 0}


def jax_ways(base: dict, args: argparse.Namespace, version: str, python: str):
    """This program in one interpreter, over so many emulated devices."""
    devices = [1] if args.accelerator else args.devices
    return [
        Way(
            f"JAX {version}" if args.accelerator else f"JAX {version}, devices: {n}",
            base | {"kind": "jax", "devices": n},
            python,
        )
        for n in devices
        if base["batch_size"] % n == 0
    ]


def torch_ways(base: dict, args: argparse.Namespace, version: str) -> list[Way]:
    """PyTorch: plain first, which the ratios refer to, then what may be faster."""
    ways = [("", False, ""), (", channels_last", True, "")]
    if args.compile or args.accelerator:
        ways.append((", channels_last, compiled", True, "default"))
    if args.accelerator:
        ways.append((", channels_last, CUDA graphs", True, "reduce-overhead"))
    return [
        Way(
            f"PyTorch {version.partition('+')[0]}{name}",
            base | {"kind": "torch", "channels_last": last, "compile": mode},
        )
        for name, last, mode in ways
    ]


def compare(
    case: str, batch_size: int, precision: str, augment: str, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One table row a way, as JSON."""
    base = BASE | {
        "case": case,
        "batch_size": batch_size,
        "precision": precision,
        "augment": "twice" if augment == "none" else "",
        "width": args.width,
        "seconds": args.seconds,
    }
    ways = torch_ways(base, args, args.versions[0]["torch"])
    for python, found in zip(args.pythons, args.versions, strict=True):
        ways += jax_ways(base, args, found["jax"], python)
    found = in_turn(ways, args.rounds)
    theirs = [name for name in found if name.startswith("PyTorch")]
    best = min((found[name].median for name in theirs), default=None)
    plain = found[theirs[0]].median if theirs else None
    return [
        _row(case, batch_size, precision, augment, name, t, plain, best)
        for name, t in found.items()
    ]


def _row(case, batch_size, precision, augment, name, t: Timed, plain, best) -> dict:
    return {
        "case": case,
        "batch": batch_size,
        "precision": precision,
        "augmentation": augment,
        "way": name,
        "median": t.median,
        "images_per_second": batch_size / t.median,
        "of_plain_torch": plain and plain / t.median,
        "of_best_torch": best and best / t.median,
        **t._asdict(),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    network = f"{row['case']}, {row['batch']}, {row['precision']}"
    if row["augmentation"] == "none":
        network += ", no augmentation"
    first = row["first"]
    return [
        network,
        row["way"],
        three(1e3 * row["median"]),
        three(row["images_per_second"]),
        *(f"{r:.2f}" if (r := row[key]) else "" for key in RATIOS),
        three(first[0]),
        three(first[1]) if first[1:] else "",
        f"{row['peak_bytes'] / 2**20:.0f}",
    ]


RATIOS = ("of_plain_torch", "of_best_torch")
HEAD = (
    "case, batch",
    "way",
    "ms",
    "images/s",
    "of PyTorch",
    "of its best",
    "first step, cold, s",
    "cached, s",
    "peak MiB",
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--net", nargs="+", choices=CASES, default=["default", "conv3"])
    p.add_argument("--batch", nargs="+", type=int, default=[128])
    p.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"])
    p.add_argument("--augment", nargs="+", choices=["own", "none"], default=["own"])
    p.add_argument("--devices", nargs="+", type=int, default=[1, 2, 4, 8])
    p.add_argument("--python", nargs="+", default=[], help="further interpreters")
    p.add_argument("--compile", action="store_true", help="on a CPU: compiled, too")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=8.0, help="of a way in a round")
    p.add_argument("--width", type=int, default=0, help="for a trial: narrower")
    p.add_argument("--check", action="store_true", help="that both are equal, no times")
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if args.tiny:
        args.batch, args.width, args.rounds, args.seconds = [16], 4, 1, 0.2
        args.devices = args.devices[:2]
    return args


def main() -> None:
    """Runs all comparisons and prints one table."""
    args = parse()
    if args.check:
        from benchmarks.equality import report

        return report(width=8, batch_size=16)
    args.pythons = [sys.executable, *args.python]
    facts = [about(python) for python in args.pythons]
    args.versions = [fact["versions"] for fact in facts]
    args.accelerator = facts[0]["accelerator"]
    if "torch" not in args.versions[0]:
        raise SystemExit("PyTorch is missing here: pip install -e '.[bench]'")
    precisions = args.precision or ["bfloat16" if args.accelerator else "float32"]
    rows = [
        row
        for case in args.net
        for batch in args.batch
        for precision in precisions
        for augment in args.augment
        for row in compare(case, batch, precision, augment, args)
    ]
    if not args.tiny:
        record("against_torch", rows, accelerator=args.accelerator)
    print(table(HEAD, [_cells(row) for row in rows]))


if __name__ == "__main__":
    main()
