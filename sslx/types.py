"""The contracts that every part of sslx shares. Imports nothing of sslx.

House letters of array shapes: b batch, v views, h w c image, d feature,
k classes, n data set.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

Params = Any  # a plain nested dict of arrays
Metrics = dict[str, Array]


class UserError(Exception):
    """Something the user can mend; the message is one line that says how."""

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""Text as it is, but for what breaks a line or a terminal: ``\n``, ``\udce9``.

    File names may hold anything.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def refuse_if(wrong: object, message: str) -> None:
    """Raises a ``UserError`` with the message where something is wrong."""
    if wrong:
        raise UserError(message)


class Encoder(NamedTuple):
    """An image encoder as pure functions.

    Attributes:
        init: ``(key, images) -> (params, stats)``; images (b, h, w, c) give the shape.
        apply: ``(params, stats, images, train) -> (features, stats)`` for float32
            NHWC images that are already normalised; features are (b, dim) and float32
            or wider. With ``train`` the batch's own statistics normalise it and the
            running ones move; without, ``stats`` come back as they went in.
        dim: Width of the features.
        meta: ``{"name": ..., "kw": {...}}``, enough for ``make_encoder`` to rebuild it.
    """

    init: Callable[[Array, Array], tuple[Params, Params]]
    apply: Callable[[Params, Params, Array, bool], tuple[Array, Params]]
    dim: int
    meta: dict[str, Any]


class Out(NamedTuple):
    """What an objective returns beside its scalar."""

    stats: Params
    extras: Params
    metrics: Metrics


class Task(NamedTuple):
    """What a training method must know of the run that it is part of.

    Attributes:
        dtype: Type of the computation, "float32" or "bfloat16".
        steps: Updates in all; for what follows a schedule.
        classes: Number of classes of the labels; 0 where there are none.
    """

    dtype: str
    steps: int
    classes: int


class Objective(NamedTuple):
    """A training method as pure functions, in the manner of optax.

    ``params`` and ``stats`` are dicts whose entry ``"encoder"`` is the trunk (absent
    where a head is trained alone) and whose entries ``"projector"`` and
    ``"classifier"``, if any, are the head and the linear classifier that a service may
    answer with: each is saved apart, so that a later stage opens it alone.

    Attributes:
        init: ``(key, batch) -> (params, stats, extras)``.
        loss: ``(params, stats, extras, batch, key) -> (scalar, Out)``.
        after: ``(params, stats, extras, step) -> extras``, once after each update
            (moving averages, queues); most methods return ``extras``.
        head: The keywords of ``sslx.models.heads.make_mlp`` that rebuild the
            projector; None where there is none to serve.
        uses: The entries of a batch that it needs, ``("images",)`` or more.
        views: How many views of each image it compares.
    """

    init: Callable[[Array, Any], tuple[Params, Params, Params]]
    loss: Callable[[Params, Params, Params, Any, Array], tuple[Array, Out]]
    after: Callable[[Params, Params, Params, Array], Params]
    head: dict[str, Any] | None
    uses: tuple[str, ...]
    views: int


class Published(NamedTuple):
    """What others have found: a victim and its copy, as ``study.published`` has it.

    Attributes:
        data: What the victim was trained on, as a data set is called.
        dataset: What both were probed on.
        loss: Of the theft, an entry of ``sslx.losses.LOSSES``.
        queries: Its budget, in images.
        victim: Accuracy of the victim, between 0 and 1.
        copy: Likewise.
        source: Where that is said, and of what.
    """

    data: str
    dataset: str
    loss: str
    queries: int
    victim: float
    copy: float
    source: str
