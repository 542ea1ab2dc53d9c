"""Several stealers at once against one after another, for several ways to spread them.

Command: python -m benchmarks.together [--members 8 --net conv3 --shapes 12x12x1]
Time: about 10 minutes on two cores. Records in benchmarks/results/together.jsonl.

A step is the engine's, batches and all: InfoNCE on answers of noise, conv3 and batches
of 256 if nothing else is said. On a CPU the way that others are compared with spreads
each stealer's batch over four emulated devices, which is what the engine does there for
small images; on an accelerator there are two ways: one stealer after another, and all
of them in one vmap.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import record, table, three
from benchmarks.turns import Way, about, in_turn, times_as_fast

N = 1024  # images of a stealer
NETS = ("conv3", "resnet18", "resnet34")
STEALER = {
    "net": "conv3",
    "shape": "12x12x1",
    "batch_size": 256,
    "precision": "float32",
}
SHAPES = {"12x12x1": (12, 12, 1), "20x20x1": (20, 20, 1), "32x32x3": (32, 32, 3)}
HEAD = (
    "network",
    "images",
    "batch",
    "stealers",
    "way",
    "ms a step of all",
    "times as fast",
)


def ways(
    stealer: dict[str, Any], members: int, seconds: float, accelerator: bool
) -> list[Way]:
    """The first is what others are compared with; ``stealer`` is as ``STEALER``."""

    def way(name: str, together: bool, devices: int) -> Way:
        settings = {
            "kind": "stealers",
            **stealer,
            "members": members,
            "together": together,
            "devices": devices,
            "seconds": seconds,
        }
        return Way(name, settings)

    if accelerator:
        return [way("one after another", False, 1), way("all by vmap", True, 1)]
    found = [way(f"one after another, each over {n} devices", False, n) for n in (4, 8)]
    for devices in (1, 4, 8):
        each, rest = divmod(members, devices)
        if rest or (devices == 1 and members == 1):
            continue
        name = "one" if each == 1 else f"{each} by vmap"
        on = "one device" if devices == 1 else f"each of {devices} devices"
        found.append(way(f"{name} on {on}", True, devices))
    return found


def build(net: str, precision: str, own: dict[str, Any]):
    """Objective, optimiser and schedule of a stealer whose numbers are ``own``."""
    import jax.numpy as jnp

    from sslx.attacks import ATTACKS, Theft
    from sslx.attacks.copying import over_views
    from sslx.losses import LOSSES
    from sslx.models import make_encoder
    from sslx.train.optim import make_optimiser

    loss = partial(LOSSES["infonce"], temperature=own["temperature"])
    theft = Theft(answer_dim=128, dtype="float32", match=over_views(loss))

    def views(key, images):
        return images[:, None].astype(jnp.float32) / 255

    attack = ATTACKS["direct"].objective
    assert attack is not None
    objective = attack(
        make_encoder(
            net, width=64 if net.startswith("resnet") else 32, dtype=precision
        ),
        views,
        theft,
        train_on="asked",
    )
    numbers = {"learning_rate": own["learning_rate"], "weight_decay": 1e-4}
    optimiser = make_optimiser("adam", **numbers, warmup_steps=0, steps=1000)
    return objective, *optimiser


def _data(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    asked = random.randint(0, 256, (N, 1, *shape), np.uint8)
    return {
        "asked": asked,
        "answers": random.normal(size=(N, 1, 128)).astype(np.float32),
    }


def make_stepper(
    *,
    members: int,
    together: bool,
    shape: str,
    net: str,
    batch_size: int,
    precision: str,
) -> tuple[Callable[[], Any], int]:
    """Steps of all members and a wait for their end, and how many a call takes."""
    import jax

    from sslx.train import fit, mesh
    from sslx.train import members as engine

    loop = fit.Loop(100, 100, 2, 10, True)
    data = _data(SHAPES[shape])
    own = [
        {"temperature": 0.1 * (i + 1), "learning_rate": 1e-3} for i in range(members)
    ]
    make = partial(build, net, precision)
    if together:
        slots = [engine.Member(i, own[i], data) for i in range(members)]
        group = engine.Group(make, slots, 1000, batch_size)
        grid = mesh.member_mesh(members)
        advance, most = engine.make_advance(group, slots, loop, grid)
        state = engine.start(group, slots, [], 0, grid)
        runs = [(advance, state)]
    else:
        grid = mesh.data_mesh(batch_size)
        t = fit.Training(*make(own[0]), data, 0, 1000, batch_size)
        advance, most = fit._stepper(t, loop, grid)
        # One program for all: its speed knows no seed.
        runs = [(advance, fit._start(t, Path("none"), grid)) for _ in range(members)]
    states = [state for _, state in runs]
    at = 0

    def call() -> None:
        nonlocal at
        steps = range(at * most, (at + 1) * most)
        for i, (advance, _) in enumerate(runs):
            states[i], _ = advance(states[i], steps)
            jax.block_until_ready(states[i])
        at += 1

    return call, most


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--members", type=int, nargs="+", default=[8])
    p.add_argument("--net", nargs="+", choices=NETS, default=["conv3"])
    p.add_argument("--batch", type=int, nargs="+", default=[256])
    p.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--shapes", nargs="+", choices=SHAPES, default=["12x12x1"])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5.0, help="of a way in a round")
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    args = p.parse_args(argv)
    if args.tiny:
        args.members, args.rounds, args.seconds = [2], 1, 0.2
    return args


def main() -> None:
    """Runs all ways and prints the table."""
    args = parse()
    accelerator = about()["accelerator"]
    rows = []
    cases = itertools.product(args.net, args.shapes, args.batch, args.members)
    for net, shape, batch_size, members in cases:
        stealer = {
            "net": net,
            "shape": shape,
            "batch_size": batch_size,
            "precision": args.precision,
        }
        chosen = ways(stealer, members, args.seconds, bool(accelerator))
        found = in_turn(chosen, args.rounds)
        base = found[chosen[0].name]
        rows += [
            {
                **stealer,
                "members": members,
                "way": name,
                "times_as_fast": times_as_fast(t, base),
                **t.row(),
            }
            for name, t in found.items()
        ]
    if not args.tiny:
        record("together", rows, accelerator=accelerator)
    cells = [
        [
            *(row[key] for key in ("net", "shape", "batch_size", "members", "way")),
            three(1e3 * row["median"]),
            row["times_as_fast"],
        ]
        for row in rows
    ]
    print(table(HEAD, cells))


if __name__ == "__main__":
    main()
