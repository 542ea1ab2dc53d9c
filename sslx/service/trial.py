"""A defence of one's own, tried on made-up answers before a victim is asked.

A law is tried by a few calls. ``tests/service/test_defences.py`` holds the table's own
defences to it in full.
"""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.registry import failure
from sslx.rng import host_stream
from sslx.service.blackbox import serve
from sslx.service.database import digest
from sslx.service.defences.defence import LAWS, Defence, calibrate
from sslx.types import UserError

N = 6  # images
SIZED = {"probabilities", "label"}  # outputs that no factor belongs to
ALONE = "draw from request.keys, and let it answer each image by itself"


class Trial(NamedTuple):
    """What is compared with one call of all images, and what to do if it differs.

    Attributes:
        calls: The images of each.
        advice: In words.
        neighbour: The images of a call that another account makes before.
        factor: On the victim's answers and the calibration.
    """

    calls: list[list[int]]
    advice: str = ALONE
    neighbour: Sequence[int] = ()
    factor: float = 1


WHOLE = [[0, 1, 2, 3, 4, 5]]
TRIALS = {
    "killed": Trial(WHOLE),
    "order": Trial([[5, 3, 1, 4, 2, 0]]),
    "cutting": Trial([[0, 1, 2], [3, 4], [5]]),
    "accounts": Trial(WHOLE, "let it remember in state and rows alone", [4, 1, 2]),
    "scaling": Trial(WHOLE, "take strengths in request.calibration.deviation", (), 8),
}


def try_defence(
    defence: Defence, name: str, dim: int, image_shape: Sequence[int], output: str
) -> None:
    """Raises a UserError where a defence breaks a law that it is not exempt from.

    Args:
        defence: One that wants no gradient.
        name: Its name, for messages.
        dim: Numbers of the victim's answers.
        image_shape: (h, w, c).
        output: What the service answers with; of "probabilities" each answer sums to 1,
            of "label" it is a whole number.
    """
    random = host_stream(0, "trial")
    images, measured = (
        random.integers(0, 256, (n, *image_shape), np.uint8) for n in (N, 20 * N)
    )

    def embed(shown: np.ndarray) -> np.ndarray:
        seeds = (int.from_bytes(digest(x.tobytes())[:8], "little") for x in shown)
        drawn = np.stack(
            [np.random.default_rng(s).exponential(size=dim) for s in seeds]
        )
        if output == "label":
            return np.floor(drawn)
        return (
            drawn / drawn.sum(1, keepdims=True) if output == "probabilities" else drawn
        )

    def answers(trial: Trial) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            service = serve(
                Path(folder) / "answers.sqlite",
                lambda shown: trial.factor * embed(shown),
                image_limit=None,
                image_shape=image_shape,
                dim=dim,
                defence=defence,
                secret=bytes(range(32)),
                calibration=calibrate(trial.factor * embed(measured)),
            )
            with closing(service):
                if len(trial.neighbour):
                    service.query("neighbour", images[trial.neighbour])
                parts = [service.query("trial", images[rows]) for rows in trial.calls]
        order = np.argsort(np.concatenate(trial.calls))
        return np.concatenate(parts)[order] / trial.factor

    exempt = {*defence.exempt, *(["scaling"] if output in SIZED else [])}
    try:
        want = answers(Trial(WHOLE))
        close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(want).max()}
        broken = [
            law
            for law, trial in TRIALS.items()
            if law not in exempt and not np.allclose(answers(trial), want, **close)
        ]
    except UserError as error:
        raise UserError(f"service.defence: {name}: {error}") from None
    except Exception as error:
        raise failure(f"service.defence: {name}", error) from None
    if broken:
        raise UserError(
            f"service.defence: {name} breaks a law of defences: {LAWS[broken[0]]}; "
            f"{TRIALS[broken[0]].advice}, or name it in "
            f"exempt={{{', '.join(map(repr, broken))}}}"
        )
