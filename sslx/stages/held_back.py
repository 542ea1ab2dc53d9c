"""What an attacker judges a training by: images of his that it was not trained on.

No test image and no true label has a part in it, so numbers that are chosen by it are
those a thief could choose (docs/choosing.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from sslx.build import make_objective
from sslx.context import Context, pool
from sslx.embed.classifier import CLASSIFIED
from sslx.embed.forward import EMBED_BATCH, embedder
from sslx.evals.fidelity import unexplained
from sslx.models.heads import linear_widths
from sslx.queries.held_back import AGREEMENT, DISTANCE, STREAM, Parts, divided
from sslx.rng import stream
from sslx.runs.names import Run
from sslx.stages.answers import Answered
from sslx.train.step import State

DRAWS = 16  # of the views that a loss is measured on


class Own(NamedTuple):
    """What is trained on without answers: rows of the pool, and images (n, h, w, c)."""

    rows: np.ndarray
    images: np.ndarray


Found = TypeVar("Found", Own, Answered)
Judge = Callable[[State], dict[str, Any]]


def held_back(
    run: Run,
    found: Found,
    context: Context,
    by: Callable[[Run, Found, np.ndarray, Parts], Judge],
) -> tuple[Found, Judge | None]:
    """What trains, and what judges the training by the rest; None if all trains.

    Args:
        run: The training.
        found: All that the attacker has for it.
        context: Where his pool lies.
        by: The criterion.
    """
    r = run.recipe
    if "held_back" not in r:
        return found, None
    asked = run.parents.get("responses", run)
    ids = pool(asked.recipe, context).ids()
    parts = divided(r["seed"], ids, found.rows, r["held_back"]["share"])
    kept = type(found)(*(array[parts.kept] for array in found))
    return kept, by(run, found, ids[found.rows], parts)


def by_answers(run: Run, found: Answered, ids: np.ndarray, parts: Parts) -> Judge:
    """Judges a theft by the answers to images that it was not trained on.

    Answers that are classes or their probabilities: ``agreement``, the share of views
    that the stealer's own classifier puts into the victim's class. Others:
    ``distance``, ``unexplained`` of the answers by the stealer's features, the map
    fitted on what it was trained on; an image is the mean over the views that were
    asked, on both sides. The stealer sees the views as they were sent.
    """
    r, asked = run.recipe, run.parents["responses"].recipe
    used = np.sort(np.concatenate([parts.kept, parts.held]))
    fitted = np.isin(used, parts.kept)
    classified = asked["output"] in CLASSIFIED

    def seen(state: State, rows: np.ndarray, **head: Any) -> np.ndarray:
        """(rows, v, d) of the views asked."""
        variables = {"encoder": _part(state, "encoder"), "head": _part(state, "head")}
        shape = {"image_shape": tuple(r["image_shape"])}
        how = shape | {"mean": r["mean"], "std": r["std"]} | head
        views = found.asked[rows]
        flat = views.reshape(-1, *views.shape[2:])
        out = embedder(r["encoder"], jax.device_get(variables), **how)(flat)
        return out.reshape(*views.shape[:2], -1)

    def agreement(state: State) -> dict[str, Any]:
        layers = linear_widths(state.params["head"])
        kept = {"widths": layers, "dtype": r["encoder"]["kw"]["dtype"]}
        guess = seen(state, parts.held, head=kept).argmax(-1)
        told = found.answers[parts.held]
        told = told[..., 0] if asked["output"] == "label" else told.argmax(-1)
        return _told(AGREEMENT, np.mean(guess == told), parts)

    def distance(state: State) -> dict[str, Any]:
        features = seen(state, used).mean(axis=1)
        answers = found.answers[used].mean(axis=1)
        value = unexplained(features, answers, fitted, ids[used])
        return _told(DISTANCE, value, parts)

    return agreement if classified else distance


def by_own_loss(run: Run, found: Own, ids: np.ndarray, parts: Parts) -> Judge:
    """Judges a training without answers by its own loss on images that it did not see.

    A loss at another temperature, or on views of another preset, is another quantity:
    one that is trained on easier views has the lower loss and need not be the better
    encoder. So all are judged at the one temperature and on the views of the one
    preset that ``steal.held_back`` names, with the same views of the same images, the
    mean over some draws, in batches of the same images. Losses of different methods
    stay incomparable; the measure bears the method's name.
    """
    r, fixed = run.recipe, run.recipe["held_back"]
    numbers = {k: fixed[k] for k in ("temperature",) if k in r["numbers"]}
    numbers = r["numbers"] | numbers
    objective = make_objective(r | {"numbers": numbers, "augment": fixed["augment"]})
    images = found.images[parts.held]
    size = min(EMBED_BATCH, len(images))
    starts = range(0, len(images) - size + 1, size)

    @jax.jit
    def loss(state, batch, key):
        own = state.params, state.stats, state.extras
        return objective.loss(*own, {"images": batch}, key)[0]

    def judge(state: State) -> dict[str, Any]:
        # By way of the host: the training's arrays may span several processes.
        state = jax.device_get(state._replace(opt=None))
        each = [
            loss(state, images[start : start + size], stream(0, STREAM, draw))
            for draw in range(DRAWS)
            for start in starts
        ]
        return _told(f"{r['objective']} loss", np.mean(each), parts)

    return judge


def _part(state: State, name: str) -> dict[str, Any]:
    return {"params": state.params.get(name), "stats": state.stats.get(name, {})}


def _told(measure: str, value: Any, parts: Parts) -> dict[str, Any]:
    value = None if value is None else float(value)
    return {"measure": measure, "value": value, "images": len(parts.held)}
