"""The SimCLR step of this program against an equal one in PyTorch.

Command: python -m benchmarks.against_torch [--net conv3 ...] [--python PATH ...]
Time: on two cores about 8 minutes for default and conv3, 25 for resnet18 (3 rounds).
Recorded in docs/performance.md and benchmarks/results/against_torch.jsonl.

Needs PyTorch (pip install -e .[bench]) in the interpreter that runs it. A step is
augmentation, forward, backward, update; images of noise. Ways take turns, each in a
process of its own; ratios are of medians within a round, above 1 where a way is faster
than plain PyTorch, or than PyTorch's fastest way, median and range over the rounds.
``--check`` shows that both compute the same. ``--python`` names further interpreters in
which this program runs too, with another JAX, say.

On a CPU: emulated devices against PyTorch's layouts and, if asked for, its compiler
(``--compile``). On a GPU: bfloat16 by default, several steps a dispatch against
channels_last with autocast, compiled.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.record import CASES, record, table, three
from benchmarks.turns import Timed, Way, about, in_turn, times_as_fast

BASE = {"plain": False, "precision": "float32", "width": 0}


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
        "plain": augment == "none",
        "width": args.width,
        "seconds": args.seconds,
    }
    theirs = torch_ways(base, args, args.versions[0]["torch"])
    ways = list(theirs)
    for python, found in zip(args.pythons, args.versions, strict=True):
        ways += jax_ways(base, args, found["jax"], python)
    measured = compared([w.name for w in ways], len(theirs), in_turn(ways, args.rounds))
    what = {
        "case": case,
        "batch": batch_size,
        "precision": precision,
        "augmentation": augment,
    }
    return [what | row for row in measured]


def compared(
    names: Sequence[str], theirs: int, found: dict[str, Timed]
) -> list[dict[str, Any]]:
    """A row a way, failed ones among them, with its ratios.

    Args:
        names: Of all ways, PyTorch's first and plain PyTorch first of all.
        theirs: How many are PyTorch's. If one of them failed, which is the fastest is
            not known.
        found: The ways that did not fail.
    """
    plain = found.get(names[0])
    whole = all(name in found for name in names[:theirs])
    fast = [found[name] for name in names[:theirs] if whole]
    best = min(fast, key=lambda t: t.median, default=None)
    return [
        {"way": name, "failed": True}
        if (t := found.get(name)) is None
        else {
            "way": name,
            "of_plain_torch": plain and times_as_fast(t, plain),
            "of_best_torch": best and times_as_fast(t, best),
            **t.row(),
        }
        for name in names
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    network = f"{row['case']}, {row['batch']}, {row['precision']}"
    if row["augmentation"] == "none":
        network += ", no augmentation"
    if "failed" in row:
        return [network, row["way"], "failed", *[""] * (len(HEAD) - 3)]
    first = row["first"]
    return [
        network,
        row["way"],
        three(1e3 * row["median"]),
        three(row["batch"] / row["median"]),
        *(row[key] or "" for key in RATIOS),
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
    "of plain PyTorch",
    "of its fastest way",
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
    if facts[0]["torch"] is None:
        raise SystemExit("PyTorch is missing here: pip install -e '.[bench]'")
    found = {facts[0]["torch"], *(fact["accelerator"] for fact in facts)}
    if len({bool(device) for device in found}) > 1:
        raise SystemExit(
            "JAX and PyTorch do not compute on the same device: "
            f"{', '.join(sorted(device or 'CPU' for device in found))}; install both "
            "for the same one (pip install 'jax[cuda12]', or hide the GPU with "
            "CUDA_VISIBLE_DEVICES='' and JAX_PLATFORMS=cpu)"
        )
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
        record(
            "against_torch",
            rows,
            accelerator=args.accelerator,
            interpreters=args.versions,
        )
    print(table(HEAD, [_cells(row) for row in rows]))


if __name__ == "__main__":
    main()
