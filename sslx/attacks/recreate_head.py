"""The victim's projection head is recreated from its answers, then stolen through."""

from itertools import combinations

import jax.numpy as jnp

from sslx.attacks.attack import Theft
from sslx.attacks.copying import copying, make_student, mean_of, several, through
from sslx.losses import infonce
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, unchanged
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out


def _projector(theft: Theft, hidden: int, projection: int):
    """``make_mlp``'s keywords of a head on the answers."""
    widths = [hidden or theft.answer_dim, projection]
    return {"widths": widths, "dtype": theft.dtype, "norm": "none", "bias": True}


def head(
    theft: Theft, *, train_on: str, hidden: int, projection: int, temperature: float
) -> Objective:
    """The first phase, without a stealer; a batch is ``{"answers"}``, (b, v, d).

    Attack B of Dziedzic et al. 2022: a new head g is trained on the victim's
    representations of two views of each image, as SimCLR trains one: InfoNCE between
    g(y_1) and g(y_2), the mean over all pairs where more views were asked. The answers
    are stored, where their code asks for new views each epoch.

    Args:
        theft: Width of the answers, type of the computation.
        train_on: Of the second phase.
        hidden: Width of the hidden layer; 0: as wide as the answers.
        projection: Width of the head's output.
        temperature: Of InfoNCE.
    """
    del train_on
    meta = _projector(theft, hidden, projection)
    project_init, project = make_mlp(**meta)

    def init(key, batch):
        zeros = jnp.zeros((1, theft.answer_dim))
        return {"projector": project_init(key, zeros)[0]}, {}, {}

    def loss(params, stats, extras, batch, key):
        answers = batch["answers"]
        several(answers.shape[0], "attack 'recreate_head'")
        z, _ = project(params["projector"], {}, answers, True)
        pairs = combinations(range(answers.shape[1]), 2)
        value, metrics = mean_of(
            infonce(z[:, i], z[:, j], temperature=temperature) for i, j in pairs
        )
        return value, Out(stats, extras, metrics)

    return Objective(init, loss, unchanged, meta, ("answers",), 2)


@traits(may_be_0=("hidden",))
def recreate_head(
    encoder: Encoder,
    views: Views,
    theft: Theft,
    *,
    train_on: str,
    hidden: int,
    projection: int,
    temperature: float,
) -> Objective:
    """The second phase; a batch is ``{"asked" or "images", "answers"}``.

    Attack B of Dziedzic et al. 2022: the config's loss between g(answers), with
    g = ``theft.head`` frozen, and the stealer's trunk under a head of its own of the
    same form, thrown away afterwards.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: The loss, the width of the answers and the head.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
        hidden: Width of both hidden layers; 0: each as wide as its input.
        projection: Width of both heads' output.
        temperature: Of the first phase.
    """
    del temperature
    _, project = make_mlp(**_projector(theft, hidden, projection))

    def target(answers):
        assert theft.head is not None, "Theft.head is missing"
        return project(theft.head["params"], theft.head["stats"], answers, False)[0]

    student = make_student(encoder, theft, (hidden, projection))
    return copying(student, through(views, train_on), theft, target=target)
