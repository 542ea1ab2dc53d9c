"""Every method on real CIFAR-10 with a small encoder on two cores: docs/victims.md.

Command: python -m benchmarks.victims_cpu [METHOD ...]
Time: 60 minutes on two cores that had other work (69 minutes of CPU time). Prints the
table in Markdown.

Each method is the experiment configs/victim_cpu.py:METHOD; what is finished is not run
again, so that a second call only prints the table. Seconds are those of the training,
watch included, from when it was started or last taken up.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from configs.victim_cpu import METHODS, get_config

HEAD = ("method", "linear", "kNN", "watched kNN", "std x sqrt(d)", "rank", "seconds")


def _percent(row: dict) -> str:
    low, high = (100 * end for end in row["interval"])
    return f"{100 * row['accuracy']:.1f} [{low:.1f}, {high:.1f}]"


def _accuracies(folder: Path, role: str) -> list[str]:
    from sslx.runs.files import read_json

    rows = read_json(folder / "results.json")["rows"]
    by = {r["evaluator"]: r for r in rows if r["role"] == role}
    return [_percent(by["linear"]), _percent(by["knn"])]


def _watched(victim: Path) -> list[str]:
    """The end of the watch, and how long the training took."""
    from sslx.embed.finished import open_run
    from sslx.train.logbook import WATCHED, read_rows

    last = read_rows(victim, WATCHED)[-1]
    width = 4 * open_run(victim).meta["encoder"]["kw"]["width"]  # conv3's features
    times = [(victim / name).stat().st_mtime for name in ("config.json", "meta.json")]
    return [
        f"{100 * last['knn']:.1f}",
        f"{last['std'] * width**0.5:.2f}",
        f"{last['rank']:.0f}",
        f"{times[1] - times[0]:.0f}",
    ]


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="all by default")
    parser.add_argument("--workdir", default="checkpoints")
    parser.add_argument(
        "--steps", type=int, help="other than the config's, for a trial"
    )
    args = parser.parse_args()
    chosen = args.methods or list(METHODS)
    if unknown := set(chosen) - set(METHODS):
        parser.error(f"unknown {', '.join(unknown)}; known: {', '.join(METHODS)}")

    from absl import logging as absl_logging

    from sslx.experiment.graph import resolve
    from sslx.program import run
    from sslx.train import mesh

    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    engine = get_config().engine
    mesh.start(cpu_devices=engine.cpu_devices, compile_cache=engine.compile_cache)
    lines = []
    for method in chosen:
        config = get_config(method)
        config.victim.steps = args.steps or config.victim.steps
        folder = run(config, args.workdir)
        assert folder is not None
        victim = resolve(config, Path(args.workdir)).members[0].victim.path
        lines.append([method, *_accuracies(folder, "victim"), *_watched(victim)])
    for name in ("untrained", "pixels"):
        lines.append([name, *_accuracies(folder, name), "", "", "", ""])
    sys.stdout.flush()
    print()
    for line in (HEAD, ["---"] * len(HEAD), *lines):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
