"""What a thief makes of defended answers before anything trains on them."""

import tempfile
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sslx.attacks.cleaning import CLEANERS, Answered, Help
from sslx.attacks.cleaning.ridge import left_out
from sslx.embed.finished import open_run
from sslx.registry import pick
from sslx.rng import host_stream
from sslx.runs.names import Run
from sslx.service import calibrate, make_defence, serve
from sslx.stages.answers import accounts_of, anchors_of

RIDGE = 1e-3  # of the mean square of a feature, for what a first stealer predicts


def cleaned(run: Run, found: Answered) -> Answered:
    """The answers after all cleaners of a theft's recipe, in turn."""
    r, responses = run.recipe, run.parents["responses"]
    if "clean" not in r:
        return found
    anchors, accounts = anchors_of(responses, found.asked), accounts_of(responses)
    rows = found.rows
    for step, name in enumerate(r["clean"].split("+")):
        own = np.isin(rows, found.rows)  # a cleaner may have left some out
        help = Help(
            accounts=accounts[own],
            anchors=anchors,
            features=cache(partial(_features, run, found.images)),
            predicted=cache(partial(_predicted, run, found)),
            defended=partial(_defended, responses.recipe, found.images, r["seed"]),
            random=host_stream(r["seed"], "clean", step),
        )
        numbers = r.get("clean_numbers", {}).get(name, {})
        found = pick(CLEANERS, name, "cleaner", own=True)(found, help, **numbers)
    return found


def _features(run: Run, images: np.ndarray) -> np.ndarray:
    """In the attacker's own encoder, trained on what he asked without an answer."""
    return open_run(run.parents["own"].path).embed(images)


def _predicted(run: Run, found: Answered) -> np.ndarray:
    """What a first stealer would answer, by a linear map that the others tell."""
    x = open_run(run.parents["first"].path).embed(found.images)
    return left_out(x, found.answers.mean(axis=1, dtype=np.float64), RIDGE)


def _defended(
    r: dict[str, Any], images: np.ndarray, seed: int, clean: np.ndarray
) -> np.ndarray:
    """What a copy of the defence makes of answers to the images, by another secret."""
    place = {image.tobytes(): i for i, image in enumerate(images)}

    def embed(shown: np.ndarray) -> np.ndarray:
        return clean[[place[image.tobytes()] for image in shown]]

    with tempfile.TemporaryDirectory() as folder:
        service = serve(
            Path(folder) / "copy.sqlite",
            embed,
            image_limit=None,
            image_shape=images.shape[1:],
            dim=clean.shape[1],
            defence=make_defence(r["defence"].split("+"), r.get("defence_numbers", {})),
            secret=host_stream(seed, "copy").bytes(32),
            calibration=calibrate(clean),
        )
        with closing(service):
            parts = range(0, len(images), r["call_size"])
            out = [service.query("copy", images[i : i + r["call_size"]]) for i in parts]
    return np.concatenate(out)
