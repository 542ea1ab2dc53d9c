"""MMD: whether the latest queries are distributed as those of honest users.

Gretton et al. 2012, "A kernel two-sample test", against extraction as in 2606.05725.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from sslx.service.detectors.detector import (
    Detector,
    Known,
    Scores,
    Stream,
    centre_of,
    cut,
    directions,
)
from sslx.types import refuse_if

SAMPLE = 1000  # rows that the median is taken of


def mmd(*, window: int = 200, step: int = 50, references: int = 20) -> Detector:
    """Squared MMD, unbiased, of a window of queries against windows of honest streams.

    The score is the mean over the reference windows, for honest streams as for all
    others; the kernel is a sum of Gaussians of directions, of 4, 2, 1 and half the
    median distance of honest queries. A stream shorter than the window has no score.

    A window takes references * window^2 * d multiplications; known is
    references * window * d numbers.

    Args:
        window: Queries that are compared, 2 or more.
        step: Queries between two windows.
        references: Honest windows to compare with, at most; fewer if there are fewer.

    Raises:
        UserError: A number is out of its range; learning, that no honest stream fills
            a window.
    """
    refuse_if(window < 2, f"mmd.window must be 2 or more, not {window}")
    refuse_if(step < 1, f"mmd.step must be 1 or more, not {step}")
    refuse_if(references < 1, f"mmd.references must be 1 or more, not {references}")

    def learn(streams: Sequence[Stream]) -> Known:
        windows = [s for s in cut(streams, window) if len(s.times) == window]
        refuse_if(
            not windows,
            f"too few honest queries: no stream fills a window of mmd, {window:,} "
            "queries",
        )
        places = np.linspace(0, len(windows) - 1, min(references, len(windows)))
        centre = centre_of(streams)
        chosen = [windows[int(place)] for place in places]
        rows = np.stack([directions(w.features, centre) for w in chosen])
        width = _median(rows.reshape(-1, rows.shape[-1]))
        refuse_if(not width, "honest queries are all alike: mmd has no scale")
        inside = np.mean([_inside(own, width) for own in rows])
        return {
            "centre": centre,
            "rows": rows.reshape(-1, rows.shape[-1]),
            "width": np.array(width),
            "inside": np.array(inside),
        }

    def score(known: Known, streams: Sequence[Stream]) -> list[Scores]:
        return [scored(known, stream) for stream in streams]

    def scored(known: Known, stream: Stream) -> Scores:
        rows = directions(stream.features, known["centre"])
        width = float(known["width"])
        at = np.arange(window, len(rows) + 1, step)
        values = []
        for end in at:
            own = rows[end - window : end]
            between = _kernel(own, known["rows"], width).mean()
            values.append(_inside(own, width) + float(known["inside"]) - 2 * between)
        return Scores(at.astype(np.int64), np.array(values, np.float64))

    return Detector(learn, score)


def _squares(a: np.ndarray, b: np.ndarray) -> Float64[np.ndarray, "n m"]:
    """Squared distances; rows of ``directions`` may be zero."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)


def _median(rows: Float64[np.ndarray, "n d"]) -> float:
    """Median distance between rows, of an even sample of them."""
    rows = rows[:: -(-len(rows) // SAMPLE)]
    upper = np.triu_indices(len(rows), 1)
    return float(np.sqrt(np.median(_squares(rows, rows)[upper])))


def _kernel(a: np.ndarray, b: np.ndarray, width: float) -> Float64[np.ndarray, "n m"]:
    """Sum of four Gaussians, of 4, 2, 1 and half the width."""
    term = np.exp(_squares(a, b) / (-2 * (4 * width) ** 2))
    out = term.copy()
    for _ in range(3):  # half the width is the fourth power
        term **= 2
        term **= 2
        out += term
    return out


def _inside(rows: Float64[np.ndarray, "n d"], width: float) -> float:
    """Mean kernel between different rows of a window."""
    n = len(rows)
    kernel = _kernel(rows, rows, width)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
