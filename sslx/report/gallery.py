"""What the report shows of two feature spaces: nearest neighbours and a map.

Victim and headline stolen encoder look at the same test images; without a theft the
victim alone. Images that any cell could have asked are not among them.
"""

from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.embed.finished import open_run
from sslx.evals.knn import neighbours
from sslx.evals.maps import plane, turn_onto
from sslx.experiment.experiment import Experiment, Probe
from sslx.experiment.recipes import reading
from sslx.rng import host_stream

CLASSES = 10  # more colours are not told apart; others are left out
IMAGES = 500  # embedded by each encoder: 10 s for a ResNet-34 on two cores
QUERIES = 8  # images whose neighbours are shown, each of a class of its own
NEIGHBOURS = 5
FEWEST = 12  # images of as many originals, below which there is nothing to see


class Gallery(NamedTuple):
    """Test images and where two encoders put them; n images, m queries, k neighbours.

    Attributes:
        dataset: As the config names it.
        images: uint8 (n, h, w, c).
        labels: (n,).
        classes: Number of classes of the set; ``labels`` holds at most 10 of them.
        copies: Whether some images show the same original; these are no neighbours.
        queries: (m,) rows of ``images``.
        near: Encoder (victim, stolen) -> (n, k) rows of ``images``, nearest first.
        agree: Encoder -> share of all n * k neighbours that are of the image's class.
        shared: Share of the victim's neighbours that are the stolen encoder's as well;
            1 without a theft.
        maps: Encoder -> (n, 2) points; the stolen encoder's turned onto the victim's.
    """

    dataset: str
    images: np.ndarray
    labels: np.ndarray
    classes: int
    copies: bool
    queries: np.ndarray
    near: dict[str, np.ndarray]
    agree: dict[str, float]
    shared: float
    maps: dict[str, np.ndarray]


def _shown(experiment: Experiment) -> Probe | None:
    """The victim's probe on its own data; on the first set where it has none there.

    None where it has no probe at all.
    """
    probes = [p for p in experiment.probes if p.encoder == "victim"]
    own = experiment.victim.recipe.get("data")  # not known of one from elsewhere
    same = (p for p in probes if p.run.recipe["data"] == own)
    return next(same, probes[0] if probes else None)


def _sample(labels: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """At most 500 of the rows, of at most 10 classes, in random order."""
    random = host_stream(seed, "gallery")
    classes = random.permutation(np.unique(labels[rows]))[:CLASSES]
    return random.permutation(rows[np.isin(labels[rows], classes)])[:IMAGES]


def _compare(
    features: dict[str, np.ndarray], labels: np.ndarray, ids: np.ndarray, seed: int
) -> dict:
    """The part of a gallery that features decide."""
    near = {e: neighbours(f, k=NEIGHBOURS, groups=ids) for e, f in features.items()}
    *_, other = near.values()  # the victim's own without a theft
    both = (near["victim"][:, :, None] == other[:, None, :]).any(2)
    maps = {e: plane(f, seed=seed) for e, f in features.items()}
    if "stolen" in maps:
        maps["stolen"] = turn_onto(maps["stolen"], maps["victim"])
    agree = {e: float((labels[n] == labels[:, None]).mean()) for e, n in near.items()}
    return {"near": near, "agree": agree, "shared": float(both.mean()), "maps": maps}


def make(experiment: Experiment, config: ConfigDict) -> Gallery | None:
    """Embeds test images with both encoders.

    None where there are hardly any images, or none that the victim can be asked.
    """
    probe = _shown(experiment)
    if probe is None:
        return None
    name, options, r = probe.dataset, reading(config), probe.run.recipe
    seed = experiment.report.recipe["seed"]
    test, ids = data.load(name, "test", options), data.ids(name, "test", options)
    rows = np.arange(len(ids))
    if r["test_kept"] is not None:  # the others were for sale
        _, rows = divide(ids, r["test_kept"], r["split_seed"])
    rows = _sample(test.labels, rows, seed)
    images, labels, ids = test.images[rows], test.labels[rows], ids[rows]
    if len(np.unique(ids)) < FEWEST:
        return None
    runs = {"victim": experiment.victim}
    if experiment.cells:
        runs["stolen"] = experiment.cells[0].steal
    features = {e: open_run(run.path).embed(images) for e, run in runs.items()}
    # Sorted by class; the first image of each, in an order that is random.
    _, first = np.unique(labels, return_index=True)
    return Gallery(
        dataset=name,
        images=images,
        labels=labels,
        classes=data.describe(name, options).classes,
        copies=len(np.unique(ids)) < len(ids),
        queries=first[:QUERIES],
        **_compare(features, labels, ids, seed),
    )
