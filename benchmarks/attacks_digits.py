"""Every attack and every loss on the digits, equal true queries, three seeds.

Command: python -m benchmarks.attacks_digits
Time: 14 minutes on two cores beside other work. Prints the tables of docs/attacks.md in
Markdown.

One experiment a seed, which differs from configs/digits_attack.py in having a direct
theft with each loss besides. What is finished is not run again, so that a second call
only prints the tables.
"""

import argparse
import logging
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.stats import t as student_t

from configs import default, digits_attack

LOSSES = (
    *("mse", "cosine", "regression", "infonce", "softnn", "wasserstein", "energy"),
    *("supcon", "barlow", "vicreg", "bce", "soft_cross_entropy"),
    *("bce_reference", "soft_cross_entropy_reference"),
)
# The published code's defects that only two views of an image show.
PAIRS = ("infonce", "infonce_reference", "barlow", "barlow_reference")


def changes() -> tuple[str, ...]:
    """All thefts; the headline is direct with mse."""
    (attacks,) = digits_attack.get_config().study.grid
    losses = (f"loss={name}" for name in LOSSES[1:])
    pairs = (f"loss={name} ask_views=2 ask_augment=mild" for name in PAIRS)
    return attacks + default.thefts(*losses, *pairs)


def accuracies(found: dict) -> dict[str, float]:
    """Linear accuracy by the name of the table's line, in per cent."""
    out = {}
    for r in found["records"]:
        # The label of a theft names its attack, but for "direct".
        first = {None: r["role"], "direct": "direct"}.get(r["attack"], "")
        name = f"{first} {r['theft'] or ''}".strip()
        out[name] = 100 * r["scores"]["linear"]["accuracy"]
    return out


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half of the 95 % t interval over seeds."""
    n = len(values)
    half = student_t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
    return float(values.mean()), float(half)


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", default="checkpoints")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()

    from absl import logging as absl_logging

    from sslx.program import run
    from sslx.runs.files import read_json
    from sslx.train import mesh

    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    engine = digits_attack.get_config().engine
    mesh.start(cpu_devices=engine.cpu_devices, compile_cache=engine.compile_cache)
    by_seed = []
    for seed in args.seeds:
        config = digits_attack.get_config()
        config.seed = seed
        config.study.grid = (changes(),)
        folder = run(config, Path(args.workdir))
        assert folder is not None
        by_seed.append(accuracies(read_json(folder / "results.json")))
    ssl = np.array([found["ssl_only"] for found in by_seed])
    several = len(args.seeds) > 1
    print("\n| what | linear, mean | by seed | above ssl_only |\n" + "| --- " * 4 + "|")
    for name in by_seed[0]:
        values = np.array([found[name] for found in by_seed])
        each = ", ".join(f"{v:.1f}" for v in values)
        mean, gain = f"{values.mean():.1f}", f"{(values - ssl).mean():+.1f}"
        if several:
            mean += f" ± {interval(values)[1]:.1f}"
            gain += f" ± {interval(values - ssl)[1]:.1f}"
        print(f"| {name} | {mean} | {each} | {'' if name == 'ssl_only' else gain} |")


if __name__ == "__main__":
    main()
