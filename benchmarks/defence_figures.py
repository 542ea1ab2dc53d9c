"""The figures of docs/defences.md that no test holds: what defences see of answers.

Command: python -m benchmarks.defence_figures PART
Time: minutes on one core; ``coverage`` needs CIFAR-10 (sslx prepare cifar10)

``near``: of answers at each cosine to one of an account's past, the share replaced.
``coverage``: of the shipped encoder's answers, what accounts of each size cover.
``line``: honest users below the line above which proof of work costs more.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import record, table
from configs import cifar_reference, default

COSINES = (0.99, 0.95, 0.93, 0.85)
CLASSES = (2, 10)  # of CIFAR-10, that an account asks of
MEASURED = 1_000  # images of the calibration
USERS, SETS = 13, 30  # honest ones beside the line of each calibration set


def near(tiny: bool) -> list[dict[str, Any]]:
    """Made-up ReLU features of ten kinds, 256 numbers, at the default similarity."""
    from sslx.service import DEFENCES, calibrate
    from sslx.service.defences.defence import Request

    random, asked = np.random.default_rng(0), 20 if tiny else 300
    kinds = random.normal(size=(10, 256))

    def features(n: int) -> np.ndarray:
        drawn = kinds[random.integers(10, size=n)] + random.normal(size=(n, 256))
        return np.maximum(drawn, 0).astype(np.float32)

    known = calibrate(features(500))

    def beside(x: np.ndarray, cosine: float) -> np.ndarray:
        """At this cosine to x, as the defence takes it."""
        at = (x - known.mean) / known.deviation
        off = random.normal(size=at.shape)
        off -= at * (off @ at) / (at @ at)
        off *= np.linalg.norm(at) / np.linalg.norm(off)
        turned = cosine * at + (1 - cosine**2) ** 0.5 * off
        return (turned * known.deviation + known.mean).astype(np.float32)

    numbers = default.get_config().service.defence_kw.near_duplicates.to_dict()
    defence, out = DEFENCES["near_duplicates"](**numbers), []
    for past in (200,) if tiny else (1_000, 10_000, 100_000):
        state = defence.init(256, np.arange(8, dtype=np.uint32))
        kept: dict[int, list[np.ndarray]] = defaultdict(list)

        def found(places, kept=kept) -> list[np.ndarray]:
            return [row for place in places for row in kept[int(place)]]

        def replaced(x: np.ndarray, state=state, kept=kept, learns=False) -> bool:
            keys = random.integers(2**32, size=(1, 8), dtype=np.uint32)
            request = Request(
                images=np.zeros((1, 1, 1, 1), np.uint8),
                hashes=[b""],
                raw=x[None],
                keys=keys,
                calibration=known,
                past=found,
            )
            answers, _, rows, _ = defence.apply(state, request)
            for row in rows if learns else ():
                kept[int(row[0])].append(row)
            return bool((answers != x).any())

        first = features(past)
        for x in first:
            replaced(x, learns=True)
        row = {"past": past}
        for cosine in COSINES:
            some = first[random.integers(past, size=asked)]
            row[f"at {cosine}"] = np.mean([replaced(beside(x, cosine)) for x in some])
        row["unrelated"] = np.mean([replaced(x) for x in features(asked)])
        out.append(row)
    return out


def coverage(tiny: bool) -> list[dict[str, Any]]:
    """Images of CIFAR-10's test set, one account of the shipped victim each."""
    from sslx import data
    from sslx.embed.finished import open_run
    from sslx.experiment.graph import resolve
    from sslx.program import run
    from sslx.service import DEFENCES, calibrate
    from sslx.service.defences.defence import Request

    split = data.load("cifar10", "test", data.AS_THEY_ARE)
    order = np.random.default_rng(0).permutation(len(split.labels))
    order = order[: 2 * MEASURED] if tiny else order
    config = cifar_reference.get_config()
    config.stages = ("victim",)
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder))
        victim = open_run(resolve(config, Path(folder)).members[0].victim.path)
        answers = victim.embed(split.images[order], "representation")
    known, labels = calibrate(answers[:MEASURED]), split.labels[order][MEASURED:]
    pool, blocks = answers[MEASURED:], default.get_config().service.defence_kw
    cases = [
        ("b4b", {"bits": 12, "centred": False}, "coverage"),
        ("b4b", {"bits": 12}, "coverage"),
        ("b4b", {"bits": 8}, "coverage"),
        ("coverage_ratio", {}, "ratio"),
        ("coverage_ratio", {"domain": 1.0}, "ratio"),
    ]
    out = []
    for name, changed, note in cases:
        defence = DEFENCES[name](**blocks[name].to_dict() | changed)
        for classes in CLASSES:
            own = pool[labels < classes]
            request = Request(
                images=np.zeros((len(own), 1, 1, 1), np.uint8),
                hashes=[b""] * len(own),
                raw=own,
                keys=np.zeros((len(own), 8), np.uint32),
                calibration=known,
                past=lambda places: [],
            )
            state = defence.init(own.shape[1], np.arange(8, dtype=np.uint32))
            notes = defence.apply(state, request)[3]
            row = {"defence": name, **changed, "classes": classes, "note": note}
            for n in (100, 300, 1_000, 3_000, 5_500):
                if n <= len(own):
                    row[f"N = {n}"] = notes[note][n - 1]
            out.append(row)
    return out


def line(tiny: bool) -> list[dict[str, Any]]:
    """Users of normal features, beside the line of sets of calibration images."""
    from sslx.service import calibrate
    from sslx.service.defences.proof_of_work import at, honest_line, learn, standard

    random, out = np.random.default_rng(0), []
    numbers = default.get_config().service.defence_kw.proof_of_work
    for dim in (8,) if tiny else (8, 64):
        mix = random.normal(size=(dim, dim))
        for size in (600,) if tiny else (600, 2_000):
            below: dict[int, list[float]] = defaultdict(list)
            for _ in range(2 if tiny else SETS):
                drawn = random.normal(size=(size, dim)) @ mix
                known = calibrate(drawn.astype(np.float32))
                own = {"sd": numbers.sd, "quantile": numbers.quantile}
                limit = honest_line(known, **own)
                for n in (8, size // 4, size, 4 * size):
                    for _ in range(10 if tiny else USERS):
                        user = random.normal(size=(n, dim)) @ mix
                        z = standard(user.astype(np.float32), known, numbers.sd)
                        learnt = learn(np.eye(dim), z)[1].sum()
                        below[n].append(learnt / at(limit, n) - 1)
            for n, over in below.items():
                row = {"dim": dim, "measured": size, "images": n}
                row["below"] = np.mean(np.array(over) <= 0)
                row["95 % over it"] = max(0.0, float(np.quantile(over, 0.95)))
                out.append(row)
    return out


PARTS = {"near": near, "coverage": coverage, "line": line}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("part", nargs="?", default="near", choices=PARTS)
    p.add_argument("--tiny", action="store_true", help="a trial; not recorded")
    return p.parse_args(argv)


def main() -> None:
    """Measures a part and prints its table."""
    args = parse()
    rows = PARTS[args.part](args.tiny)
    if not args.tiny:
        numbers = [
            {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
            for row in rows
        ]
        record("defence_figures", numbers, accelerator="", part=args.part)
    head = list(dict.fromkeys(key for row in rows for key in row))
    shown = [[row.get(key, "") for key in head] for row in rows]
    shown = [[f"{x:.3g}" if isinstance(x, float) else x for x in row] for row in shown]
    print(table(head, shown))


if __name__ == "__main__":
    main()
