"""SimSiam's loss across the two parties: predictions meet projected answers."""

from itertools import permutations

import jax
import jax.numpy as jnp

from sslx.attacks.attack import Theft
from sslx.attacks.copying import make_student, mean_of, through
from sslx.losses import cosine
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, each_view, unchanged
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out


@traits(may_be_0=("hidden",))
def symmetrized(
    encoder: Encoder,
    views: Views,
    theft: Theft,
    *,
    train_on: str,
    hidden: int,
    predictor: int,
) -> Objective:
    """The objective; a batch is ``{"asked" or "images", "answers"}``, v > 1 views.

    Dziedzic et al. 2022, "symmetrized": L = -(cos(p_1, z_2) + cos(p_2, z_1)) / 2 with
    p_i = predictor(projector(f(x_i))) and z_i = projector(y_i), the stealer's projector
    on the victim's answer; in [-1, 1]. With more views the mean over all pairs.

    Unlike their code: z is a constant, as in SimSiam (Chen and He 2021); the answers
    are stored, so that neither the other view nor a new epoch asks again.

    Args:
        encoder: The stealer's trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        theft: Width of the answers.
        train_on: "asked" or "image": what the stealer sees, through ``views``.
        hidden: Width of the projector's three layers, all with BatchNorm; 0: as wide as
            the answers.
        predictor: Width of the predictor's hidden layer.
    """
    student, sight = make_student(encoder, theft), through(views, train_on)
    width = hidden or theft.answer_dim
    project_init, project = make_mlp([width] * 3, dtype=theft.dtype, norm="all")
    guess_init, guess = make_mlp((predictor, width), dtype=theft.dtype, norm="hidden")

    def init(key, batch):
        keys = jax.random.split(key, 4)
        params, stats = student.init(keys[0], sight.look(keys[1], batch)[:, 0])
        p, s = project_init(keys[2], jnp.zeros((1, theft.answer_dim)))
        q, t = guess_init(keys[3], jnp.zeros((1, width)))
        params |= {"projection": p, "predictor": q}
        return params, stats | {"projection": s, "predictor": t}, {}

    def loss(params, stats, extras, batch, key):
        def branch(stats, view):
            y, moved = student.apply(params, stats, view)
            z, seen = project(params["projection"], stats["projection"], y, True)
            p, guessed = guess(params["predictor"], stats["predictor"], z, True)
            return p, moved | {"projection": seen, "predictor": guessed}

        def of_answer(answer):
            old = stats["projection"]
            return project(params["projection"], old, answer, True)[0]

        answers = batch["answers"]
        v = answers.shape[1]
        z = [jax.lax.stop_gradient(of_answer(answers[:, i])) for i in range(v)]
        p, moved = each_view(branch, stats, sight.look(key, batch))
        pairs = permutations(range(v), 2)
        value, metrics = mean_of(cosine(p[i], z[j]) for i, j in pairs)
        return value, Out(moved, extras, metrics)

    return Objective(init, loss, unchanged, None, (sight.uses, "answers"), 1)
