"""What attacks share: what the stealer sees, and how it is compared with answers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sslx.attacks.attack import Match, Theft
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, each_view, unchanged
from sslx.registry import pick
from sslx.types import Encoder, Metrics, Objective, Out, Params, refuse_if

# What an attack's ``train_on`` may be -> the entry of a batch that it names.
TRAIN_ON = {"asked": "asked", "image": "images"}


class Sight(NamedTuple):
    """What the stealer sees of a batch.

    Attributes:
        uses: The entry of the batch that it looks at.
        look: ``(key, batch) -> (b, n, h, w, c)``, n passes of the stealer.
    """

    uses: str
    look: Callable[[Array, Any], Array]


def through(views: Views, train_on: str, times: int = 0) -> Sight:
    """The stealer's own augmentation, drawn anew for each pass.

    Args:
        views: ``(key, images) -> (b, 1, h, w, c)``.
        train_on: "asked", of each view that was sent; "image", of the clean image, as
            often as there are answers.
        times: For "image", another number of passes; 0: as said.

    Raises:
        UserError: ``train_on`` is neither.
    """
    entry = pick(TRAIN_ON, train_on, "train_on")

    def look(key, batch):
        n = times or batch["answers"].shape[1]
        images = batch[entry]
        each = [
            views(k, images[:, i] if entry == "asked" else images)[:, 0]
            for i, k in enumerate(jax.random.split(key, n))
        ]
        return jnp.stack(each, axis=1)

    return Sight(entry, look)


def untouched(theft: Theft) -> Sight:
    """Each view as it was sent, normalised and nothing more."""

    def look(key, batch):
        assert theft.plain is not None, "Theft.plain is missing"
        asked = batch["asked"]
        each = [theft.plain(asked[:, i]) for i in range(asked.shape[1])]
        return jnp.stack(each, axis=1)

    return Sight("asked", look)


class Student(NamedTuple):
    """The stealer with what stands between it and the answers.

    Attributes:
        init: ``(key, view) -> (params, stats)``: "encoder", and in ``params`` what is
            thrown away afterwards: "head", or "adapter" for a mere change of width.
        apply: ``(params, stats, view) -> (out, stats)`` of one view (b, h, w, c), by
            the batch's own statistics; out is (b, d).
    """

    init: Callable[[Array, Array], tuple[Params, Params]]
    apply: Callable[[Params, Params, Array], tuple[Array, Params]]


def make_student(encoder: Encoder, theft: Theft, widths: Sequence[int] = ()) -> Student:
    """Builds it; it starts from ``theft.trunk`` where that is given.

    Args:
        encoder: The stealer's trunk.
        theft: Width of the answers, type of the computation, trunk to start from.
        widths: Of a head's layers, with ReLU between them; 0: as wide as the features.
            None at all: no head, but a linear map if the features are not as wide as
            the answers.
    """
    name = "head" if widths else "adapter"
    if not widths and encoder.dim != theft.answer_dim:
        widths = (theft.answer_dim,)
    widths = [width or encoder.dim for width in widths]
    head_init, head_apply = make_mlp(widths, dtype=theft.dtype)

    def init(key, view):
        trunk_key, head_key = jax.random.split(key)
        if theft.trunk is None:
            params, stats = encoder.init(trunk_key, view)
        else:  # copies, for training gives its state's memory away
            kept = jax.tree.map(jnp.array, theft.trunk)
            params, stats = kept["params"], kept["stats"]
        params = {"encoder": params}
        if widths:
            params[name] = head_init(head_key, jnp.zeros((1, encoder.dim)))[0]
        return params, {"encoder": stats}

    def apply(params, stats, view):
        y, moved = encoder.apply(params["encoder"], stats["encoder"], view, True)
        if widths:
            y, _ = head_apply(params[name], {}, y, True)
        return y, {"encoder": moved}

    return Student(init, apply)


def copying(
    student: Student,
    sight: Sight,
    theft: Theft,
    match: Match | None = None,
    target: Callable[[Array], Array] | None = None,
) -> Objective:
    """Trains the student so that what it says of its views matches the answers.

    A batch holds ``answers``, float (b, v, d), which are constants, and what the sight
    uses. One pass for each view, each normalised by its own batch statistics.

    Args:
        student: What is trained.
        sight: What it sees.
        theft: The loss, and whether it takes labels.
        match: A loss of the attack's own instead.
        target: What the answers go through first, ``(b, v, d) -> (b, v, e)``.
    """
    labelled = match is None and theft.labels
    match = match or theft.match

    def init(key, batch):
        student_key, view_key = jax.random.split(key)
        view = sight.look(view_key, batch)[:, 0]
        return *student.init(student_key, view), {}

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            return student.apply(params, stats, view)

        assert match is not None, "Theft.match is missing"
        outs, stats = each_view(branch, stats, sight.look(key, batch))
        answers = jnp.asarray(batch["answers"])
        if target is not None:
            answers = target(answers)
        value, metrics = match(
            jnp.stack(outs, axis=1),
            jax.lax.stop_gradient(answers),
            batch["labels"] if labelled else None,
        )
        return value, Out(stats, extras, metrics)

    uses = (sight.uses, "answers", *(("labels",) if labelled else ()))
    return Objective(init, loss, unchanged, None, uses, 1)


def over_views(loss: Callable[[Array, Array], tuple[Array, Metrics]]) -> Match:
    """The mean over views of a loss of two (b, d) arrays, and of its metrics."""

    def match(student, answers, labels):
        return mean_of(
            loss(student[:, i], answers[:, i]) for i in range(answers.shape[1])
        )

    return match


def mean_of(each: Iterable[tuple[Array, Metrics]]) -> tuple[Array, Metrics]:
    """The means of several values and of their metrics."""
    found = list(each)
    return jax.tree.map(lambda *parts: sum(parts) / len(found), *found)


def several(b: int, what: str) -> None:
    """Raises a UserError unless there are images to compare with."""
    refuse_if(
        b < 2,
        f"{what} compares images with each other: batches (steal.batch_size) and "
        "queries must be 2 images at least",
    )
