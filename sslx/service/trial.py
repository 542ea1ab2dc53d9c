"""A defence of one's own, tried on made-up answers before a victim is asked.

The program relies on what the laws say of one image's answer: that it is the same in
whatever call and order. ``tests/service/test_defences.py`` holds the table's own
defences to all laws.
"""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from sslx.registry import failure
from sslx.rng import host_stream
from sslx.service.blackbox import serve
from sslx.service.database import digest
from sslx.service.defences.defence import LAWS, Defence, calibrate
from sslx.types import UserError, refuse_if

N = 6  # images
# Law -> the calls by which an account asks them, in comparison with one call of all.
CALLS = {
    "killed": [[0, 1, 2, 3, 4, 5]],
    "order": [[5, 3, 1, 4, 2, 0]],
    "cutting": [[0, 1, 2], [3, 4], [5]],
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

    def answers(calls: list[list[int]]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            service = serve(
                Path(folder) / "answers.sqlite",
                embed,
                image_limit=None,
                image_shape=image_shape,
                dim=dim,
                defence=defence,
                secret=bytes(range(32)),
                calibration=calibrate(embed(measured)),
            )
            with closing(service):
                parts = [service.query("trial", images[rows]) for rows in calls]
        return np.concatenate(parts)[np.argsort(np.concatenate(calls))]

    try:
        want = answers([list(range(N))])
        broken = [
            law
            for law, calls in CALLS.items()
            if law not in defence.exempt
            and not np.allclose(answers(calls), want, 1e-4, 1e-5 * np.abs(want).max())
        ]
    except UserError as error:
        raise UserError(f"service.defence: {name}: {error}") from None
    except Exception as error:
        raise failure(f"service.defence: {name}", error) from None
    law = LAWS[broken[0]] if broken else ""
    listed = ", ".join(map(repr, broken))
    refuse_if(
        broken,
        f"service.defence: {name} breaks a law of defences: {law}; let it answer each "
        f"image by itself (draw from request.keys), or name it in exempt={{{listed}}}",
    )
