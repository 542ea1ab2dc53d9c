"""What each defence costs a service per answer, early and late in an account's life.

Command: python -m benchmarks.defences
Time: docs/performance.md; seconds go to benchmarks/results/defences.jsonl.

Every entry of the table with the numbers of configs/default.py, behind a victim that
costs nothing (a product, and two for its gradient), so that what is timed is ledger and
defence. One account asks calls of images of noise, all different; timed are its calls
after so many past queries. The same without a defence is subtracted in the table.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import record, table, three

SHAPE = (8, 8, 3)
MEASURED = 500  # images of the calibration
LARGEST = 256  # images of a call: no defence refuses so many at once


def timed(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the timed calls at each number of past queries, or why there are none.

    A defence that cannot be served as here says so in one line.
    """
    import jax

    from configs.default import get_config
    from sslx.service import DEFENCES, calibrate, make_defence, serve
    from sslx.types import UserError

    random = np.random.default_rng(0)
    weights = random.normal(size=(int(np.prod(SHAPE)), args.dim)).astype(np.float32)

    def images(n: int) -> np.ndarray:
        return random.integers(0, 256, (n, *SHAPE), np.uint8)

    def embed(shown: np.ndarray) -> np.ndarray:
        flat = shown.reshape(len(shown), -1).astype(np.float32) / 255 - 0.5
        return np.maximum(flat @ weights, 0)

    @lru_cache
    def slope(score: Callable) -> Callable:
        return jax.jit(jax.vmap(jax.grad(score)))

    def gradient(score: Callable, shown: np.ndarray) -> np.ndarray:
        answers = embed(shown)
        slopes = np.where(answers > 0, np.asarray(slope(score)(answers)), 0)
        return (slopes @ weights.T / 255).reshape(shown.shape)

    assert name in DEFENCES
    blocks = get_config().service.defence_kw.to_dict()
    row: dict[str, Any] = {"defence": name, "seconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        try:
            service = serve(
                Path(folder) / "answers.sqlite",
                embed,
                image_limit=None,
                image_shape=SHAPE,
                dim=args.dim,
                defence=make_defence([name], blocks),
                secret=bytes(range(32)),
                calibration=calibrate(embed(images(MEASURED))),
                gradient=gradient,
            )
            with closing(service):
                asked = 0
                for past in sorted(args.past):
                    while asked < past:
                        n = min(LARGEST, past - asked)
                        service.query("a", images(n))
                        asked += n
                    seconds = row["seconds"][str(past)] = []
                    service.query("a", images(args.call))  # caches are full of others'
                    for _ in range(args.rounds):
                        sent = images(args.call)
                        began = time.perf_counter()
                        service.query("a", sent)
                        seconds.append((time.perf_counter() - began) / args.call)
                    asked += (args.rounds + 1) * args.call
        except UserError as error:
            row["not"] = str(error)
    return row


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--names", nargs="+", help="entries of the table; all")
    p.add_argument("--past", nargs="+", type=int, default=[1_000, 100_000])
    p.add_argument("--call", type=int, default=100, help="images of a timed call")
    p.add_argument("--dim", type=int, default=512, help="numbers of an answer")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if args.tiny:
        args.past, args.call, args.dim, args.rounds = [10, 30], 5, 40, 1
    return args


def main() -> None:
    """Measures every defence and prints the table."""
    args = parse()
    from sslx.service import DEFENCES

    rows = []
    for name in ["none", *[n for n in args.names or DEFENCES if n != "none"]]:
        print(name, file=sys.stderr, flush=True)
        rows.append(timed(name, args))
    if not args.tiny:
        setting = {"past": args.past, "call": args.call, "dim": args.dim}
        record("defences", rows, accelerator="", **setting)
    found = [
        {past: 1e3 * statistics.median(s) for past, s in row["seconds"].items() if s}
        for row in rows
    ]
    lines = []
    for row, ms in zip(rows, found, strict=True):
        if "not" in row:
            lines.append([row["defence"], row["not"]])
            continue
        own = [f"{three(ms[p])} ({ms[p] - found[0][p]:+.2f})" for p in ms]
        lines.append([row["defence"], *own])
    head = [f"ms an answer after {past:,}" for past in sorted(args.past)]
    print(table(["defence", *head], lines))


if __name__ == "__main__":
    main()
