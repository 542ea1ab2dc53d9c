"""How time grows: with queries, images, stealers and emulated devices.

Command: python -m benchmarks.growth [PART ...]
Time: about 10 minutes on two cores. Recorded in docs/performance.md and
benchmarks/results/growth.jsonl; the picture is docs/growth.png.

The picture has the parts that were not measured now as they were recorded last. Each
part is measured at several sizes, in turn; the slope is that of a line through
the logarithms of medians: 1 is time in proportion, 0 is time that does not grow; that
of the last two sizes alone has less of what is constant in it (training compiles its
program at each size). Parts are the entries of ``PARTS``; another is a function and a
line there.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

from benchmarks.record import RESULTS, record, table, three
from benchmarks.turns import Way, about, in_turn

PICTURE = Path(__file__).parents[1] / "docs" / "growth.png"
DEVICES = (1, 2, 4, 8, 16)
QUERIES = (500, 1000, 2000, 4000, 8000)
IMAGES = (2000, 4000, 8000, 16_000, 32_000)
STEALERS = (1, 2, 4, 8, 16)
TEST, WIDTH, CLASSES = 2000, 128, 10  # of the evaluators: rows, features, classes
EPOCHS = 8  # of a stealer
TRAINING = f"training, {EPOCHS} epochs"

# Lines of a picture: name -> size -> seconds, of every round.
Curves = dict[str, dict[int, list[float]]]


def devices(args: argparse.Namespace) -> Curves:
    """The conv3 step (256 images) against emulated devices."""
    base = {
        "kind": "jax",
        "case": "conv3",
        "batch_size": 32 if args.tiny else 256,
        "plain": False,
        "precision": "float32",
        "width": 4 if args.tiny else 0,
        "seconds": args.seconds,
    }
    ways = [Way(str(n), base | {"devices": n}) for n in args.devices]
    found = in_turn(ways, args.rounds)
    return {"SimCLR step": {int(name): t.seconds for name, t in found.items()}}


def stealers(args: argparse.Namespace) -> Curves:
    """A step of each stealer, one after another, against their number.

    Attack "direct" with InfoNCE and the embedded default's network, 256 images.
    """
    base = {
        "kind": "theft",
        "loss": "infonce",
        "case": "default",
        "batch_size": 32 if args.tiny else 256,
        "precision": "float32",
        "width": 4 if args.tiny else 0,
        "devices": 1 if args.accelerator else 4,  # as configs/digits_direct.py has it
        "seconds": args.seconds,
    }
    ways = [Way(str(n), base | {"stealers": n}) for n in args.stealers]
    found = in_turn(ways, args.rounds)
    return {"one after another": {int(name): t.seconds for name, t in found.items()}}


def images(args: argparse.Namespace) -> Curves:
    """Features, kNN and linear probe against images (rows of the training split)."""
    from benchmarks.steps import embedding
    from sslx.evals.knn import knn
    from sslx.evals.linear import probe

    embed, pixels = embedding("conv3", args.width, max(args.images))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, max(args.images) + args.test).astype(np.int32)
    centres = rng.normal(size=(CLASSES, WIDTH))
    noise = 2 * rng.normal(size=(len(labels), WIDTH))
    rows = (centres[labels] + noise).astype(np.float32)
    test, rows, labels = rows[: args.test], rows[args.test :], labels[args.test :]

    def neighbours(n):
        knn(rows[:n], labels[:n], test, classes=CLASSES, k=20, temperature=0.07)

    def linear(n):
        probe(
            rows[:n],
            labels[:n],
            test,
            classes=CLASSES,
            l2_grid=(1e-3,),
            validation_fraction=0.2,
            tolerance=1e-5,
            max_iterations=5000,
            seed=0,
        )

    ways = {
        "features, conv3": lambda n: embed(pixels[:n]),
        "kNN": neighbours,
        "linear probe": linear,
    }
    return _timed(ways, args.images, args.rounds)


def queries(args: argparse.Namespace) -> Curves:
    """Asking, and training for some epochs on the answers, against queries.

    The stages themselves, with service, ledger and checkpoints, on images of noise.
    """
    from configs import digits_direct
    from sslx.experiment.graph import resolve
    from sslx.stages import answers, steal, victim

    curves: Curves = {"asking": {}, TRAINING: {}}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            c = _on_noise(digits_direct.get_config(), Path(folder), args)
            # The first one compiles, and is not kept.
            for n in (min(args.queries) - 1, *args.queries):
                c.steal.queries = n
                experiment = resolve(c, Path(folder))
                (theft,), context = experiment.thefts, experiment.context
                # In the first only.
                victim.make(experiment.members[0].victim, context)
                began = time.perf_counter()
                answers.make(theft.responses, context)
                asked = time.perf_counter()
                steal.make(theft.steal, context)
                trained = time.perf_counter()
                if n in args.queries:
                    curves["asking"].setdefault(n, []).append(asked - began)
                    curves[TRAINING].setdefault(n, []).append(trained - asked)
    return curves


def _on_noise(c, folder: Path, args: argparse.Namespace):
    """The config on a set of noise that is large enough for all queries."""
    from benchmarks.steps import noise

    n = 2 * max(args.queries)
    images = noise(n + 100, 16, 16, 3)
    labels = np.arange(n + 100) % CLASSES
    np.savez(
        folder / "noise.npz",
        train_images=images[:n],
        train_labels=labels[:n],
        test_images=images[n:],
        test_labels=labels[n:],
    )
    c.victim.dataset = f"npz:{folder / 'noise.npz'}"
    c.probe.datasets = (c.victim.dataset,)  # looked at, not probed
    c.data.held_out = 0.5
    c.victim.steps, c.victim.watch_every = 2, 0
    c.steal.steps, c.steal.epochs, c.study.grid = 0, EPOCHS, ()
    c.stages = ("victim", "steal")
    return c


def _timed(ways: dict[str, Callable], sizes: Sequence[int], rounds: int) -> Curves:
    """Seconds of each way at each size, after a call that compiles."""
    found: Curves = {name: {n: [] for n in sizes} for name in ways}
    for call in ways.values():
        call(min(sizes))
    for _ in range(rounds):
        for n in sizes:
            for name, call in ways.items():
                began = time.perf_counter()
                call(n)
                found[name][n].append(time.perf_counter() - began)
    return found


PARTS: dict[str, Callable[[argparse.Namespace], Curves]] = {
    # These first: they start processes, and an accelerator is still free.
    "devices": devices,
    "stealers": stealers,
    "images": images,
    "queries": queries,
}


def slope(curve: dict[int, list[float]]) -> float:
    """Of a line through the logarithms of sizes and median seconds."""
    sizes = np.log(list(curve))
    seconds = np.log([statistics.median(s) for s in curve.values()])
    return float(np.polyfit(sizes, seconds, 1)[0])


def end(curve: dict[int, list[float]]) -> dict[int, list[float]]:
    """The two largest sizes."""
    return {n: curve[n] for n in sorted(curve)[-2:]}


def recorded(lines: Iterable[str]) -> dict[str, Curves]:
    """Of each part what was recorded last, for a picture of parts measured apart."""
    found: dict[str, Curves] = {}
    for rows in (json.loads(line)["rows"] for line in lines):
        for part in {row["part"] for row in rows}:
            found[part] = {
                row["curve"]: {int(n): s for n, s in row["seconds"].items()}
                for row in rows
                if row["part"] == part
            }
    return found


def draw(found: dict[str, Curves], path: Path) -> None:
    """A panel for each part, both axes logarithmic."""
    from matplotlib.figure import Figure

    deep = -(-len(found) // 2)
    figure = Figure(figsize=(9, 3.4 * deep), layout="constrained")
    panels = figure.subplots(deep, 2, squeeze=False).ravel()
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    for panel, (part, curves) in zip(panels, found.items(), strict=False):
        for name, curve in curves.items():
            medians = [statistics.median(s) for s in curve.values()]
            label = f"{name}: slope {slope(curve):.2f}"
            panel.loglog(list(curve), medians, marker="o", label=label)
            sizes = list(curve)
        panel.set_xticks(sizes, [f"{n:,}" for n in sizes])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(part)
        panel.set_ylabel("seconds")
        panel.legend(fontsize=8, frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5.0, help="of a step in a round")
    p.add_argument("--picture", type=Path, default=PICTURE)
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if unknown := set(args.parts) - set(PARTS):
        p.error(f"unknown {', '.join(unknown)}; known: {', '.join(PARTS)}")
    args.devices, args.queries, args.images = DEVICES, QUERIES, IMAGES
    args.stealers = STEALERS
    args.test, args.width = TEST, 0
    if args.tiny:
        args.devices, args.queries, args.images = (1, 2), (128, 256), (256, 512)
        args.stealers = (1, 2)
        args.test, args.width, args.rounds, args.seconds = 50, 4, 1, 0.2
        args.picture = Path(tempfile.gettempdir()) / "growth.png"
    return args


def main() -> None:
    """Measures, prints the tables and draws the picture."""
    args = parse()
    accelerator = args.accelerator = about()["accelerator"]
    found: dict[str, Curves] = {}
    # In this process; those it starts have their own.
    jax.config.update("jax_num_cpu_devices", 4)
    for part in args.parts or PARTS:
        found[part] = PARTS[part](args)
        for name, curve in found[part].items():
            cells = [three(statistics.median(s)) for s in curve.values()]
            head = [f"{part}: {name}, s", *map(str, curve), "slope", "at the end"]
            cells += [f"{slope(curve):.2f}", f"{slope(end(curve)):.2f}"]
            print(table(head, [["", *cells]]) + "\n", flush=True)
    if not args.tiny:
        rows = [
            {"part": part, "curve": name, "seconds": curve, "slope": slope(curve)}
            for part, curves in found.items()
            for name, curve in curves.items()
        ]
        record("growth", rows, accelerator=accelerator)
        with (RESULTS / "growth.jsonl").open() as lines:
            found = recorded(lines)
    draw({part: found[part] for part in PARTS if part in found}, args.picture)


if __name__ == "__main__":
    main()
