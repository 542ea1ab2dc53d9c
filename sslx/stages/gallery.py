"""Stage gallery: what two feature spaces look like, nearest neighbours and a map.

Victim and headline stolen encoder look at the same test images; without a theft the
victim alone. Images that any theft could have asked are not among them.

``gallery.npz`` holds images uint8 (n, h, w, c), labels (n,), queries (m,) and for each
encoder e of victim and stolen ``near_e`` (n, k), rows of images, nearest first, and
``map_e`` (n, 2), points, the stolen encoder's turned onto the victim's. meta.json has
the rest, nothing but ``dataset`` where there are hardly any images.
"""

from typing import Any

import numpy as np

from sslx.context import Context, kept_rows
from sslx.embed.finished import open_run
from sslx.evals.knn import neighbours
from sslx.evals.maps import plane, turn_onto
from sslx.rng import host_stream
from sslx.runs.files import replacing, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run

FILE = "gallery.npz"
CLASSES = 10  # more colours are not told apart; others are left out
IMAGES = 500  # embedded by each encoder: 10 s for a ResNet-34 on two cores
QUERIES = 8  # images whose neighbours are shown, each of a class of its own
NEIGHBOURS = 5
FEWEST = 12  # images of as many originals, below which there is nothing to see


def make(run: Run, context: Context) -> None:
    """Embeds test images with the encoders that the run builds on, and compares."""
    r, place = run.recipe, context.place(run.recipe["data"])
    with working_on(run, f"on {place.title}") as needed:
        if not needed:
            return
        test, ids = place.load("test"), place.ids("test")
        rows = _sample(test.labels, kept_rows(run.recipe, context), r["seed"])
        images, labels, ids = test.images[rows], test.labels[rows], ids[rows]
        facts: dict[str, Any] = {"dataset": place.title}
        if len(np.unique(ids)) >= FEWEST:
            embedded = {
                role: open_run(parent.path).embed(images)
                for role, parent in run.parents.items()
            }
            arrays, compared = _compare(embedded, labels, ids, r["seed"])
            # Sorted by class; the first image of each, in an order that is random.
            _, first = np.unique(labels, return_index=True)
            arrays |= {"images": images, "labels": labels, "queries": first[:QUERIES]}
            with replacing(run.path / FILE) as file:
                np.savez_compressed(file, **arrays)
            facts["classes"] = place.describe().classes
            facts["copies"] = len(np.unique(ids)) < len(ids)
            facts |= compared
        write_meta(run, finished=True, gallery=facts)


def _sample(labels: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """At most 500 of the rows, of at most 10 classes, in random order."""
    random = host_stream(seed, "gallery")
    classes = random.permutation(np.unique(labels[rows]))[:CLASSES]
    return random.permutation(rows[np.isin(labels[rows], classes)])[:IMAGES]


def _compare(
    features: dict[str, np.ndarray], labels: np.ndarray, ids: np.ndarray, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What features decide: arrays, and facts about them."""
    near = {e: neighbours(f, k=NEIGHBOURS, groups=ids) for e, f in features.items()}
    *_, other = near.values()  # the victim's own without a theft
    both = (near["victim"][:, :, None] == other[:, None, :]).any(2)
    maps = {e: plane(f, seed=seed) for e, f in features.items()}
    if "stolen" in maps:
        maps["stolen"] = turn_onto(maps["stolen"], maps["victim"])
    agree = {e: float((labels[n] == labels[:, None]).mean()) for e, n in near.items()}
    arrays = {f"near_{e}": rows for e, rows in near.items()}
    arrays |= {f"map_{e}": points for e, points in maps.items()}
    return arrays, {"agree": agree, "shared": float(both.mean())}
