"""A victim from the first step to the last: seconds, and accuracy over epochs.

Command: python -m benchmarks.victim [--epochs 200] [--precision bfloat16] [--batch 256]
Time: not measured; the goal is under 5 minutes on an H100. Recorded in
benchmarks/results/victim.jsonl.
The set, once: sslx prepare cifar10

The stage itself trains it: SimCLR by the recipe of configs/cifar_direct.py (Adam,
40,000 of CIFAR-10's images, the others held out), but ResNet-18 and bfloat16. Accuracy
is the watch's: of held-out training images, 5,000 others being the bank.

Logbooks hold no times, so the watch's looks are timed here. A look begins when all
steps before it are done. What the steps before the first look took beyond the median
pace of the others is called start: compiling, the first dispatch, data to the device.
Looks count apart; so does the rest: reading the set before, the last save after.

The program that an accelerator runs has a fixed number of steps, and one cut short by
a look or a save would be a second one to compile: where nothing is held out an epoch
has 195 steps, and the 1,950 between two looks are 97 dispatches of 20 and one of 10. So
the steps of a dispatch are brought to a divisor (20 here, where an epoch has 156), and
it is saved only where there is a look, since saves block. Nothing is compiled from a
cache unless JAX_COMPILATION_CACHE_DIR names one.

With --workdir, what was stopped goes on; seconds are then of the rest only.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.child import accelerator
from benchmarks.record import record, table, three

SAVE_EVERY = 5000  # steps, at least


class Look(NamedTuple):
    """One look.

    Attributes:
        step: After so many.
        began: Seconds since the training was started, or taken up.
        ended: Likewise.
        row: What was seen; see ``sslx.stages.watch``.
    """

    step: int
    began: float
    ended: float
    row: dict[str, float]


class Timed(NamedTuple):
    """A training, or the rest of one.

    Attributes:
        looks: All of them, the last at the end.
        first: The step it was taken up at, 0 if it was started.
        epoch: Steps.
        batch: Images of a step.
        seconds: All in all, data and the last save included.
    """

    looks: list[Look]
    first: int
    epoch: int
    batch: int
    seconds: float


def dispatch(most: int, *boundaries: int) -> int:
    """The most steps at once, up to ``most``, that divide the way to each boundary."""
    way = math.gcd(*boundaries)
    return max(n for n in range(1, most + 1) if way % n == 0)


def make_config(args: argparse.Namespace):
    """The experiment; of its stages only the victim is needed."""
    from configs import cifar_direct, digits_direct

    c = (digits_direct if args.tiny else cifar_direct).get_config()
    c.stages = ("victim",)
    c.precision = args.precision
    c.victim.encoder = c.steal.encoder = "conv3" if args.tiny else "resnet18"
    c.victim.encoder_kw.conv3.width = 8
    c.victim.batch_size = args.batch
    c.victim.steps = c.victim.passes = 0
    c.victim.epochs = args.epochs
    c.victim.watch_every = args.watch_every
    c.study.grid = ()
    c.probe.datasets = (c.victim.dataset,)
    return c


def train(args: argparse.Namespace, workdir: Path) -> Timed:
    """Carries the stage out, with a clock at its looks."""
    from sslx.experiment.graph import resolve
    from sslx.stages import victim
    from sslx.train import checkpoint
    from sslx.train.fit import Watch
    from sslx.types import UserError

    experiment = resolve(make_config(args), workdir)
    run = experiment.members[0].victim
    epoch = run.recipe["steps"] // args.epochs
    every = args.watch_every * epoch
    loop = experiment.context.loop
    most = dispatch(loop.steps_per_dispatch, every, run.recipe["steps"])
    saves = every * -(-SAVE_EVERY // every)
    loop = loop._replace(save_every=saves, steps_per_dispatch=most)
    first = max(checkpoint.steps(run.path), default=0)
    looks: list[Look] = []
    make_watch = victim.make_watch

    def with_clock(*given):
        watch, start = make_watch(*given), time.perf_counter()

        def look(state):
            began = time.perf_counter() - start
            row = watch.look(state)
            ended = time.perf_counter() - start
            looks.append(Look(int(state.step), began, ended, row))
            return row

        return Watch(watch.every, look)

    began = time.perf_counter()
    with mock.patch.object(victim, "make_watch", with_clock):
        victim.make(run, experiment.context._replace(loop=loop))
    if not looks:
        raise UserError(f"{run.path} is finished; give another --workdir")
    seconds = time.perf_counter() - began
    return Timed(looks, first, epoch, args.batch, seconds)


def shares(t: Timed) -> dict[str, float]:
    """Where the seconds went, and images per second of the training alone."""
    before = [0.0, *(look.ended for look in t.looks)]
    steps = [t.first, *(look.step for look in t.looks)]
    spent = [look.began - end for look, end in zip(t.looks, before, strict=False)]
    taken = [b - a for a, b in zip(steps, steps[1:], strict=False)]
    paces = [s / n for s, n in zip(spent, taken, strict=True)]
    # Without a second look, what it took to start is not told from the training.
    pace = statistics.median(paces[1:] or paces)
    start = spent[0] - pace * taken[0]
    looks = sum(look.ended - look.began for look in t.looks)
    return {
        "training": sum(spent) - start,
        "start": start,
        "looks": looks,
        "rest": t.seconds - sum(spent) - looks,
        "in all": t.seconds,
        "images per second": t.batch / pace,
    }


def rows_of(t: Timed) -> list[dict[str, Any]]:
    """A row for each look; ``looking`` is the time of the look itself."""
    return [
        {
            "epoch": look.step / t.epoch,
            "seconds": look.began,
            "looking": look.ended - look.began,
            "step": look.step,
            **look.row,
        }
        for look in t.looks
    ]


def show(t: Timed) -> None:
    """Prints what came of it."""

    def percent(row: dict[str, Any], name: str) -> str:
        return f"{100 * row[name]:.1f}" if name in row else ""

    lines = [
        [
            f"{row['epoch']:g}",
            f"{row['seconds']:.1f}",
            percent(row, "knn"),
            percent(row, "linear"),
        ]
        for row in rows_of(t)
    ]
    head = ["epoch", "seconds so far, earlier looks included", "kNN, %", "linear, %"]
    print(table(head, lines) + "\n")
    found = shares(t)
    print(table(["seconds", *found], [["", *map(three, found.values())]]))
    if t.first:
        print(f"\nTaken up at step {t.first:,}: seconds are of the rest only.")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--epochs", type=int, default=200)
    p.add_argument("--precision", default="bfloat16", help="or float32")
    p.add_argument("--batch", type=int, default=256, help="images of a step")
    p.add_argument("--watch-every", type=int, default=10, help="epochs")
    p.add_argument("--workdir", type=Path, help="kept, and taken up again")
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if min(args.epochs, args.batch, args.watch_every) < 1:
        p.error("--epochs, --batch and --watch-every must be 1 or more")
    if args.tiny:
        args.epochs, args.watch_every = 3, 1
        args.precision, args.batch = "float32", 128
    return args


def main() -> None:
    """Trains, prints the tables and records them."""
    args = parse()

    from absl import logging

    from sslx.train import mesh
    from sslx.train.interrupt import Stopped
    from sslx.types import UserError

    logging.set_verbosity(logging.FATAL)  # Orbax tells every file it writes
    cpu_devices = make_config(args).engine.cpu_devices
    mesh.start(cpu_devices=cpu_devices, compile_cache="")
    if not args.tiny and not accelerator():
        print("JAX finds no accelerator: this takes days on a CPU", file=sys.stderr)
    kept = nullcontext(args.workdir) if args.workdir else tempfile.TemporaryDirectory()
    with kept as folder:
        try:
            timed = train(args, Path(folder))
        except (Stopped, UserError) as error:
            sys.exit(str(error))
    show(timed)
    if not args.tiny:
        record(
            "victim",
            rows_of(timed),
            accelerator=accelerator(),
            encoder="resnet18",
            epochs=args.epochs,
            precision=args.precision,
            batch=args.batch,
            taken_up_at=timed.first,
            seconds=shares(timed),
        )


if __name__ == "__main__":
    main()
