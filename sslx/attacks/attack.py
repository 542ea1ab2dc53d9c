"""The contract of an attack."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from sslx.types import Metrics, Objective

# (student (b, v, d), teacher (b, v, d), labels (b,) or None) -> (scalar, metrics):
# a loss of the table with its numbers bound, carried over v views of each image.
Match = Callable[[Array, Array, Array | None], tuple[Array, Metrics]]


class Plan(NamedTuple):
    """The images to ask, and how many views of each; one view is one query.

    Queries are counted through image by image: query q is view q % views of image
    rows[q // views].

    Attributes:
        rows: int64 (n,), indices into the pool, no image twice.
        views: Views asked of each image.
    """

    rows: np.ndarray
    views: int

    def calls(self, size: int, first: int = 0) -> list[tuple[str, np.ndarray]]:
        """Cuts the plan into calls of ``size`` queries: (id of the call, queries).

        Args:
            size: Queries of a call; the last may have fewer.
            first: Number of the first call: those before are of earlier rounds.
        """
        queries = np.arange(len(self.rows) * self.views)
        starts = range(0, len(queries), size)
        return [
            (f"{first + i:07d}", queries[s : s + size]) for i, s in enumerate(starts)
        ]


class Theft(NamedTuple):
    """What an attack must know of the run that it is part of.

    Attributes:
        answer_dim: Width of the answers.
        dtype: Type of the computation, "float32" or "bfloat16".
        steps: Updates in all.
        match: The loss that the config names; None for an attack with its own.
        trunk: Weights to start from, ``{"params", "stats"}`` of the encoder; None to
            start anew.
        head: What was trained before the stealer, ``{"params", "stats"}`` of a
            projector; None for attacks without.
        classes: Of the service's classifier; 0 where it answers without one.
        labels: Whether ``match`` takes the batch's labels.
        plain: ``images (b, h, w, c) -> (b, h, w, c)``, uint8 to what the stealer takes,
            normalised and not augmented; only for attacks that compare an untouched
            view.
    """

    answer_dim: int
    dtype: str
    steps: int
    match: Match | None = None
    trunk: Any = None
    head: Any = None
    classes: int = 0
    labels: bool = False
    plain: Callable[[Array], Array] | None = None


class Attack(NamedTuple):
    """What is trained on the answers, and what must be true of them.

    A batch holds of what ``Objective.uses`` names: ``images``, uint8 (b, h, w, c), the
    pool's images as they are; ``asked``, uint8 (b, v, h, w, c), the views of them that
    were sent to the victim; ``answers``, float32 (b, v, d), what it said to each;
    ``labels``, int (b,), where the loss takes them.

    Attributes:
        objective: ``(encoder, views, theft, **numbers) -> Objective``, with
            ``views(key, images) -> (b, 1, h, w, c)`` the stealer's own augmentation.
            None where nothing is trained on answers.
        outputs: Outputs of the service that it can use.
        takes_loss: Whether the config's loss is what it trains; else it has its own.
        has_head: Whether what is compared with the answers comes out of a head, and so
            may be negative.
        least_views: Views of each image that must be asked at least.
        warm: Whether the stealer first trains without labels on the pool, unasked.
        head: ``(theft, **numbers) -> Objective`` of a projector to be trained on the
            answers before the stealer (``params["projector"]`` alone, no encoder);
            None for attacks without.
    """

    objective: Callable[..., Objective] | None
    outputs: tuple[str, ...] = ("representation",)
    takes_loss: bool = True
    has_head: bool = False
    least_views: int = 1
    warm: bool = False
    head: Callable[..., Objective] | None = None

    @property
    def asks(self) -> bool:
        """Whether the victim is asked at all."""
        return self.objective is not None
