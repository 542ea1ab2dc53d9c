"""Looking at a victim while it trains: accuracy, collapse, alignment, uniformity.

On training images only, held-out ones where there are any; never on test images.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from sslx.build import make_views
from sslx.context import Watching
from sslx.data import Split
from sslx.data.splits import divide
from sslx.embed.forward import in_batches, make_forward
from sslx.evals.collapse import alignment, effective_rank, feature_std, uniformity
from sslx.evals.knn import knn
from sslx.evals.linear import classify
from sslx.models import make_encoder
from sslx.progress import say
from sslx.rng import host_stream, stream
from sslx.runs.names import Run
from sslx.train.fit import Watch
from sslx.train.step import State

# Bounds what a look costs: 11,000 images forward (each query also in two views), about
# as much as 7 training steps of 256 images, whatever the size of the data set.
BANK = 5000
QUERIES = 2000
# Of the linear classifier, for which a look chooses nothing. On the CIFAR-10 features
# of a small encoder it takes 0.2 seconds; a tolerance a hundred times finer changed
# nothing, other strengths were up to 7 points worse, and none more than 0.3 better.
L2, TOLERANCE = 1e-3, 1e-3
# Share of the originals that are queries where none are held out. The encoder has
# trained on them, the vote has not: a supervised encoder looks too good there.
ASIDE = 0.2
# Below this share of 1 / sqrt(d), the value of evenly spread rows, the mean cosine of
# two images is above 0.9999. Untrained encoders were seen from 0.05 on.
LEAST_STD = 0.01
# 1 is that of rows which all lie on one line. Untrained encoders were seen from 6 on.
LEAST_RANK = 1.5


class Images(NamedTuple):
    """What is looked at."""

    bank: Split  # neighbours to vote, of the images the victim trains on
    queries: Split  # images whose class is voted on


def choose(split: Split, ids: np.ndarray, r: dict) -> Images:
    """Bank and queries of a training split: a fixed draw of the run's seed.

    Args:
        split: The training split.
        ids: Of its rows; those with one id stand on the same side.
        r: The victim's recipe.
    """
    own, held = divide(ids, r["held_out"], r["split_seed"])
    if not len(held):
        own, held = divide(ids, ASIDE, r["seed"])

    def some(name: str, rows: np.ndarray, most: int) -> Split:
        rows = np.sort(host_stream(r["seed"], name).permutation(rows)[:most])
        return Split(split.images[rows], split.labels[rows])

    return Images(some("watch bank", own, BANK), some("watch queries", held, QUERIES))


def _embedders(r: dict):
    """Two functions of (variables, uint8 images): features (n, d), and (n, 2, d).

    The second gives those of two random views, the same ones each time. A method that
    takes one view of an image gets two of that kind.
    """
    encoder = make_encoder(r["encoder"]["name"], **r["encoder"]["kw"])
    views = make_views(r | {"augment": (r["augment"] * 2)[:2]})
    key = stream(r["seed"], "watch")
    plain = make_forward(r["encoder"], None, r["mean"], r["std"])

    def forward(variables, images):
        x = views(key, images)
        trunk = variables["encoder"]
        rows = x.reshape(-1, *x.shape[2:])
        features, _ = encoder.apply(trunk["params"], trunk["stats"], rows, False)
        return features.reshape(len(images), 2, -1)

    return partial(in_batches, plain), partial(in_batches, jax.jit(forward))


def make_watch(watching: Watching, run: Run, split: Split, ids: np.ndarray):
    """The watch of a victim's run; None where nothing is to be looked at.

    Rows have ``knn`` (accuracy on the queries, neighbours and temperature those of the
    probe), ``linear`` (likewise, of a linear classifier on the bank), ``std`` and
    ``rank`` (``feature_std`` and ``effective_rank`` of the queries), ``alignment`` (of
    two views of each) and ``uniformity``, all of the trunk's features by its running
    statistics.

    Args:
        watching: How often, and the kNN's numbers.
        run: The victim's run.
        split: The training split.
        ids: Of its rows.
    """
    r = run.recipe
    own, _ = divide(ids, r["held_out"], r["split_seed"])
    every = watching.epochs * (len(own) // r["batch_size"])
    if not every:
        return None
    shown = choose(split, ids, r)
    if len(shown.queries.labels) < 2:
        say(f"[victim] {run.name}: too few images to watch it on")
        return None
    embed, pairs = _embedders(r)
    vote = {
        "classes": r["classes"],
        "k": min(watching.k, len(shown.bank.labels)),
        "temperature": watching.temperature,
    }
    warned = False

    def look(state: State) -> dict[str, float]:
        nonlocal warned
        trunk = {"params": state.params["encoder"], "stats": state.stats["encoder"]}
        # By way of the host: the training's arrays may span several processes.
        variables = {"encoder": jax.device_get(trunk)}
        features, bank = (embed(variables, part.images) for part in shown[::-1])
        two = pairs(variables, shown.queries.images)
        row, problem = judge(features, bank, two, shown, vote)
        if problem and not warned:
            say(f"[victim] {run.name}: at step {int(state.step)} {problem}")
            warned = True
        return row

    return Watch(every, look)


def judge(
    features: np.ndarray, bank: np.ndarray, two: np.ndarray, shown: Images, vote: dict
) -> tuple[dict[str, float], str]:
    """The row of a look, {} without finite features, and what is wrong, "" if nothing.

    Args:
        features: (m, d), of the queries.
        bank: (n, d).
        two: (m, 2, d), of two views of each query.
        shown: Their labels.
        vote: The numbers of ``knn``.
    """
    if not all(np.isfinite(x).all() for x in (features, bank, two)):
        return {}, "the encoder's features are not finite"
    voted = knn(bank, shown.bank.labels, features, **vote)
    row = {
        "knn": float(np.mean(voted == shown.queries.labels)),
        **_linear(features, bank, shown, vote["classes"]),
        "std": feature_std(features),
        "rank": effective_rank(features),
        "alignment": alignment(two[:, 0], two[:, 1]),
        "uniformity": uniformity(features),
    }
    floor = LEAST_STD / math.sqrt(features.shape[1])
    if row["std"] >= floor and row["rank"] >= LEAST_RANK:
        return row, ""
    return row, (
        f"the encoder has collapsed (std {row['std']:.2g} per feature, least sound "
        f"value {floor:.2g}; effective rank {row['rank']:.2f}, least {LEAST_RANK}); "
        "try a lower learning rate"
    )


def _linear(
    features: np.ndarray, bank: np.ndarray, shown: Images, classes: int
) -> dict[str, float]:
    """``linear`` of a row; nothing where the bank has one class."""
    if np.ptp(shown.bank.labels) == 0:
        return {}
    found = classify(
        bank,
        shown.bank.labels,
        features,
        classes=classes,
        l2=L2,
        tolerance=TOLERANCE,
        max_iterations=1000,
    )
    return {"linear": float(np.mean(found.predictions == shown.queries.labels))}
