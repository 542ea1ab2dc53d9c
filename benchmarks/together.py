"""Several stealers at once against one after another, for several ways to spread them.

Command: python -m benchmarks.together [--rounds 3]
Time: about 10 minutes on two cores. Recorded in docs/performance.md.

Each way is a process of its own, and the ways take turns, so that a machine that slows
down slows all of them; the table compares medians over all rounds. A step is the
engine's, batches and all: conv3 of width 32, batch 256, InfoNCE on answers of noise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

STEPS = 5  # of every member, timed after one that compiles
BATCH, N = 256, 1024
PATIENCE = 20  # seconds after which no further step is timed
SHAPES = {"12x12x1": (12, 12, 1), "20x20x1": (20, 20, 1), "32x32x3": (32, 32, 3)}


def ways(members: int) -> dict[str, dict]:
    """What the table calls a way, and its settings; the first is what others beat."""
    # Each over 4 devices is what the engine does without groups.
    found = {
        f"one after another, each over {n} devices": {"together": False, "devices": n}
        for n in (4, 8)
    }
    for devices in (1, 4, 8):
        if devices > members:
            continue
        each = members // devices
        name = "one a device" if each == 1 else f"{each} a device by vmap"
        name += f", {devices} device{'s' * (devices > 1)}"
        found[name] = {"together": True, "devices": devices}
    return found


def build(own):
    """Objective, optimiser and schedule of a stealer whose numbers are ``own``."""
    from functools import partial

    import jax.numpy as jnp

    from sslx.attacks import ATTACKS, Theft
    from sslx.attacks.copying import over_views
    from sslx.engine.optim import make_optimiser
    from sslx.losses import LOSSES
    from sslx.models import make_encoder

    loss = partial(LOSSES["infonce"], temperature=own["temperature"])
    theft = Theft(answer_dim=128, dtype="float32", match=over_views(loss))

    def views(key, images):
        return images[:, None].astype(jnp.float32) / 255

    attack = ATTACKS["direct"].objective
    assert attack is not None
    objective = attack(
        make_encoder("conv3", width=32, dtype="float32"),
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


def make_advance(members: int, together: bool, shape: tuple[int, ...]):
    """Returns a function that takes a step of all members and waits for its end."""
    from sslx.engine import fit, mesh
    from sslx.engine import members as engine

    loop = fit.Loop(100, 100, 2, 10, True)
    data = _data(shape)
    own = [
        {"temperature": 0.1 * (i + 1), "learning_rate": 1e-3} for i in range(members)
    ]
    if together:
        slots = [engine.Member(i, own[i], data) for i in range(members)]
        group = engine.Group(build, slots, 1000, BATCH)
        grid = mesh.member_mesh(members)
        advance, most = engine.make_advance(group, slots, loop, grid)
        state = engine.start(group, slots, [], 0, grid)
        runs = [(advance, state)]
    else:
        grid, runs = mesh.data_mesh(BATCH), []
        from pathlib import Path

        t = fit.Training(*build(own[0]), data, 0, 1000, BATCH)
        advance, most = fit._stepper(t, loop, grid)
        # One program for all: its speed knows no seed.
        runs = [(advance, fit._start(t, Path("none"), grid)) for _ in range(members)]
    states = [state for _, state in runs]

    def step(at: int) -> None:
        for i, (advance, _) in enumerate(runs):
            states[i], _ = advance(states[i], range(at * most, (at + 1) * most))
            jax.block_until_ready(states[i])

    return step, most


def child(settings: dict) -> None:
    """Prints the seconds of each timed step of all members as JSON."""
    jax.config.update("jax_num_cpu_devices", settings["devices"])
    step, most = make_advance(
        settings["members"], settings["together"], SHAPES[settings["shape"]]
    )
    seconds = []
    for at in range(STEPS + 1):
        if sum(seconds[1:]) > PATIENCE:
            break
        began = time.perf_counter()
        step(at)
        seconds.append((time.perf_counter() - began) / most)
    print(json.dumps(seconds[1:]))


def _timed(settings: dict) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.together", "--child"]
    done = subprocess.run(
        [*command, json.dumps(settings)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs all ways and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(json.loads(args.child))
    print("| images | stealers | way | ms a step of all | of the first |")
    print("|---|---|---|---|---|")
    for shape in args.shapes:
        for members in args.members:
            taken: dict[str, list[float]] = {name: [] for name in ways(members)}
            for turn in range(args.rounds):
                for name, way in ways(members).items():
                    print(
                        f"{shape}, {members}: round {turn + 1}: {name}", file=sys.stderr
                    )
                    settings = way | {"members": members, "shape": shape}
                    taken[name] += _timed(settings)
            base = statistics.median(next(iter(taken.values())))
            for name, found in taken.items():
                median = statistics.median(found)
                print(
                    f"| {shape} | {members} | {name} | {1e3 * median:.0f} | "
                    f"{base / median:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
