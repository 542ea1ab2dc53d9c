"""The contract of an attack."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

from sslx.types import Metrics, Objective

# (student (b, v, d), teacher (b, v, d), labels (b,) or None) -> (scalar, metrics):
# a loss of the table with its numbers bound, carried over v views of each image.
Match = Callable[[Array, Array, Array | None], tuple[Array, Metrics]]


OWN = "own"  # the loss of an attack that brings one


class Theft(NamedTuple):
    """What an attack must know of the run that it is part of.

    Attributes:
        answer_dim: Width of the answers.
        dtype: Type of the computation, "float32" or "bfloat16".
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
        through_head: Whether what is compared with the answers comes out of a head, and
            so may be negative.
        least_views: Views of each image that must be asked at least.
        warm: Whether the stealer first trains without labels on the pool, unasked.
        passes: ``(numbers, views asked) -> views`` of an image that go through the
            stealer in a step.
        head: ``(theft, **numbers) -> Objective`` of a projector to be trained on the
            answers before the stealer (``params["projector"]`` alone, no encoder);
            None for attacks without.
    """

    objective: Callable[..., Objective] | None
    outputs: tuple[str, ...] = ("representation",)
    takes_loss: bool = True
    through_head: bool = False
    least_views: int = 1
    warm: bool = False
    passes: Callable[[dict[str, Any], int], int] = lambda numbers, views: views
    head: Callable[..., Objective] | None = None

    @property
    def asks(self) -> bool:
        """Whether the victim is asked at all."""
        return self.objective is not None
