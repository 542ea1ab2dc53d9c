"""How far the steps are from what the machine can do.

Command: python -m benchmarks.floor [--net conv3 ...] [--batch 128 ...]
Time: about 3 minutes for default and conv3 on two cores, 10 with resnet18.
Recorded in docs/performance.md and benchmarks/results/floor.jsonl.

The rate of products of matrices (best of several sizes) and of copies (bytes read and
written), here and, on a CPU, in PyTorch if it is there. For each step: operations as
XLA counts them in the program as written; on a CPU also the bytes of the compiled
program (every operand and result of every fused operation, so that what stays in the
caches counts, too); both as shares of the best of these rates. One process; steps and
rates take turns.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp

from benchmarks.record import CASES, cores, record, table, three

if TYPE_CHECKING:
    from benchmarks.steps import Stepper

SIZES = {"cpu": (256, 512, 1024, 2048, 4096), "other": (2048, 4096, 8192, 16384)}
COPIED = {"cpu": 2**28, "other": 2**31}  # bytes; above all caches
HEAD = (
    "step",
    "ms",
    "GFLOP",
    "GFLOP/s",
    "of matmul",
    "GB",
    "GB/s",
    "of copy",
)


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def matmul(size: int, dtype: str, mesh) -> Callable[[], Any]:
    """A product of two square matrices, the rows of the first over all devices.

    Of normal numbers: a GPU needs less power for constants and runs faster on them.
    """
    from sslx.train.mesh import replicated, split_rows

    rows, whole = split_rows(mesh), replicated(mesh)
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
    a, b = jax.device_put(a, rows), jax.device_put(b, whole)
    product = jax.jit(jnp.matmul, in_shardings=(rows, whole), out_shardings=rows)
    return lambda: jax.block_until_ready(product(a, b))


def copy(size: int, mesh) -> Callable[[], Any]:
    """Reads and writes ``size`` bytes in place; a sign, or XLA would leave it out.

    Into new memory it is slower by what the system takes to hand pages out.
    """
    from sslx.train.mesh import split_rows

    rows = split_rows(mesh)
    x = jax.device_put(jnp.ones(size // 4, jnp.float32), rows)
    negative = jax.jit(
        jnp.negative, in_shardings=rows, out_shardings=rows, donate_argnums=0
    )

    def call():
        nonlocal x
        x = jax.block_until_ready(negative(x))

    return call


def torch_rates(sizes: tuple[int, ...], copied: int) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch; nothing where it is missing."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(cores())
    x, y = torch.ones(copied // 4), torch.empty(copied // 4)

    def product(n: int):
        a, b = torch.randn(n, n), torch.randn(n, n)
        return lambda: a @ b

    products = {f"PyTorch matmul float32 {n}": product(n) for n in sizes}
    return {**products, "PyTorch copy": lambda: y.copy_(x)}


def rate_ways(tiny: bool) -> dict[str, tuple[Callable[[], Any], float]]:
    """Products and copies to time: a call, and its operations or bytes."""
    from sslx.train.mesh import data_mesh

    kind = "cpu" if jax.default_backend() == "cpu" else "other"
    sizes = (128, 256) if tiny else SIZES[kind]
    copied = 2**22 if tiny else COPIED[kind]
    mesh = data_mesh(sizes[0])
    types = ("float32",) if kind == "cpu" else ("float32", "bfloat16")
    calls = {f"matmul {t} {n}": matmul(n, t, mesh) for t in types for n in sizes}
    calls["copy"] = copy(copied, mesh)
    if kind == "cpu":
        calls |= torch_rates(sizes, copied)

    def work(name: str) -> float:
        size = name.rpartition(" ")[2]
        return 2 * copied if size == "copy" else 2 * int(size) ** 3

    return {name: (call, work(name)) for name, call in calls.items()}


def step_ways(args: argparse.Namespace) -> list[tuple[dict[str, Any], "Stepper"]]:
    """Rows of the table, without seconds, and the steps to time."""
    from benchmarks.steps import make_config, make_stepper, training_of, victim_recipe

    ways = []
    for case, batch in itertools.product(args.net, args.batch):
        config = make_config(
            case, batch_size=batch, precision=args.precision, width=args.width
        )
        stepper = make_stepper(training_of(victim_recipe(config)))
        row = {"step": f"{case}, {batch}", "precision": args.precision}
        row |= {"flops": stepper.flops(), "bytes": None, "seconds": []}
        if jax.default_backend() == "cpu":  # a GPU's library calls count no bytes
            row["bytes"] = stepper.moved()
        ways.append((row, stepper))
    return ways


def measure(args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the table, and FLOP/s by type and bytes/s: the best of all rounds."""
    steps, rates = step_ways(args), rate_ways(args.tiny)
    best = {name: float("inf") for name in rates}
    for turn in range(1 + args.rounds):  # the first compiles
        for row, stepper in steps:
            stepper.call()  # the first one after something else is slower
            if turn:
                times = [_seconds(stepper.call) for _ in range(3)]
                row["seconds"] += [t / stepper.steps for t in times]
        for name, (call, _) in rates.items():
            best[name] = min(best[name], *(_seconds(call) for _ in range(3)))
    found: dict[str, float] = {}
    for name, seconds in best.items():
        key = name if name.endswith("copy") else name.rpartition(" ")[0]
        found[key] = max(found.get(key, 0), rates[name][1] / seconds)
    return [row for row, _ in steps], found


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--net", nargs="+", choices=CASES, default=["default", "conv3"])
    p.add_argument("--batch", nargs="+", type=int, default=[128])
    p.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--devices", type=int, default=8, help="emulated, on a CPU")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--width", type=int, default=0, help="for a trial: narrower")
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if args.tiny:
        args.net, args.batch, args.width, args.rounds = ["conv3"], [16], 4, 1
    return args


def _cells(row: dict[str, Any], found: dict[str, float]) -> list[str]:
    seconds = median(row["seconds"])
    flops = row["flops"] / seconds
    # A CPU computes bfloat16 no faster, and its rate is not measured.
    of = found.get(f"matmul {row['precision']}", found["matmul float32"])
    cells = [
        row["step"],
        three(1e3 * seconds),
        three(row["flops"] / 1e9),
        three(flops / 1e9),
        f"{100 * flops / of:.0f} %",
    ]
    if row["bytes"] is None:
        return [*cells, "", "", ""]
    moved = row["bytes"] / seconds
    copies = max(rate for name, rate in found.items() if name.endswith("copy"))
    return [
        *cells,
        three(row["bytes"] / 1e9),
        three(moved / 1e9),
        f"{100 * moved / copies:.0f} %",
    ]


def main() -> None:
    """Measures and prints both tables."""
    args = parse()
    jax.config.update("jax_num_cpu_devices", args.devices)
    from benchmarks.child import accelerator

    rows, found = measure(args)
    if not args.tiny:
        more = {"devices": jax.device_count(), "rates": found}
        record("floor", rows, accelerator=accelerator(), **more)
    lines = [[name, three(rate / 1e9)] for name, rate in found.items()]
    print(table(["rate", "GFLOP/s or GB/s"], lines))
    print("\n" + table(HEAD, [_cells(row, found) for row in rows]))


if __name__ == "__main__":
    main()
