"""What a service answers with: representations, or what a classifier makes of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.special import softmax

from sslx.embed.finished import open_run
from sslx.runs.files import read_arrays, read_json
from sslx.train import checkpoint
from sslx.types import refuse_if

FILE = "classifier.npz"
CLASSIFIED = ("probabilities", "label")  # outputs of a service that need a classifier
OUTPUTS = ("representation", "projection", *CLASSIFIED)

Classify = Callable[[np.ndarray], np.ndarray]


def _classify(run: Path) -> Classify:
    """A finished classifier: uint8 images (n, h, w, c) to probabilities.

    Returns:
        ``images -> float32 (n, k)``; each row is 0 or more and sums to 1.

    Raises:
        UserError: The file is damaged, or not what the run ended with.
    """
    file, sealed = run / FILE, read_json(run / "meta.json").get("digest")
    try:
        arrays = read_arrays(file)
        intact = checkpoint.digest(arrays) == sealed
    except ValueError:
        intact = False
    refuse_if(not intact, f"{file} is damaged; delete {run} to make it again")
    weights, bias = arrays["weights"], arrays["bias"]
    mean, scale = arrays["mean"], arrays["scale"]
    embed = open_run(open_run(run).parents["victim"]).embed

    def probabilities(
        images: UInt8[np.ndarray, "n h w c"],
    ) -> Float32[np.ndarray, "n k"]:
        logits = ((embed(images) - mean) * scale) @ weights + bias
        return softmax(logits, axis=1).astype(np.float32)

    return probabilities


def answering(victim: Path, classifier: Path | None, output: str) -> Classify:
    """What a service answers with: uint8 (n, h, w, c) to float32 (n, width).

    Args:
        victim: The victim's run directory, finished.
        classifier: Its classifier's, finished, for the outputs in ``CLASSIFIED``.
        output: "probabilities" (n, k); "label" (n, 1), the class of the greatest; or
            what ``OpenRun.embed`` knows.
    """
    if output not in CLASSIFIED:
        return partial(open_run(victim).embed, output=output)
    if classifier is None:
        raise ValueError(f"{output!r} without a classifier's run")
    probabilities = _classify(classifier)

    def label(images: np.ndarray) -> np.ndarray:
        return probabilities(images).argmax(1)[:, None].astype(np.float32)

    return probabilities if output == "probabilities" else label
