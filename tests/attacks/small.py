"""Every attack on a trunk of one layer, which compiles at once."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.attacks import ATTACKS, Theft
from sslx.attacks.copying import over_views
from sslx.losses import LOSSES
from sslx.models.heads import make_mlp
from tests.objectives.small import encoder

VIEWS, CLASSES, DIM = 2, 4, 6
ASKED = {"train_on": "asked"}
HEAD = ASKED | {"hidden": 5, "projection": 7, "temperature": 0.5}
# case -> (attack, its numbers)
CASES = {
    "access_head": ("access_head", {"train_on": "image", "hidden": 5}),
    "cont_steal": ("cont_steal", {"form": "paper", "temperature": 0.5}),
    "cont_steal_released": ("cont_steal", {"form": "released", "temperature": 0.5}),
    "direct": ("direct", ASKED),
    "direct_image": ("direct", {"train_on": "image"}),
    "knockoff": ("knockoff", {}),
    "label_theft": ("label_theft", {}),
    "own_head": ("own_head", ASKED | {"hidden": 0}),
    "rda": (
        "rda",
        {"train_views": 3, "contrast": 0.7, "align": 0.3, "temperature": 0.5},
    ),
    "recreate_head": ("recreate_head", HEAD),
    "stolen_encoder": (
        "stolen_encoder",
        {"weight": 3.0, "augmented": 2, "distance": "l2"},
    ),
    "symmetrized": ("symmetrized", ASKED | {"hidden": 9, "predictor": 8}),
    "warm_start": ("warm_start", ASKED),
}


def plain(images):
    """As the stealer takes them: 0 to 1."""
    return images / jnp.asarray(255, jnp.result_type(float))


def shifted(key, images):
    """One view: the image brightened, by the same for all images of a call."""
    shift = jax.random.key_data(key)[0] % 9973  # compiles sooner than a draw
    return plain(images)[:, None] + plain(1 + shift)


def darker(key, images):
    """One view, of no chance: unlike the plain image, and known beforehand."""
    return plain(images)[:, None] ** 2


def answer_dim(name):
    return {"label_theft": 1, "knockoff": CLASSES}.get(name, DIM)


def trunk(dtype="float64", seed=3):
    """Weights of an encoder that trained before."""
    params, stats = encoder(dtype).init(jax.random.key(seed), jnp.zeros((1, 4, 4, 3)))
    draw = np.random.RandomState(seed)
    return jax.tree.map(
        lambda x: np.asarray(x) + 0.1 * draw.randn(*x.shape),
        {"params": params, "stats": stats},
    )


def head(dtype="float64"):
    """A projector that trained before."""
    init, _ = make_mlp((5, 7), dtype=dtype)
    params, stats = init(jax.random.key(4), jnp.zeros((1, DIM)))
    return {"params": jax.tree.map(np.asarray, params), "stats": stats}


def theft(name, dtype="float64", **changes):
    given = Theft(
        answer_dim=answer_dim(name),
        dtype=dtype,
        match=over_views(LOSSES["mse"]) if ATTACKS[CASES[name][0]].takes_loss else None,
        trunk=trunk(dtype),
        head=head(dtype) if name == "recreate_head" else None,
        classes=CLASSES,
        plain=plain,
    )
    return given._replace(**changes)


def objective(name, views=darker, dtype="float64", changes=None, **numbers):
    attack, given = CASES[name]
    build = ATTACKS[attack].objective
    of = theft(name, dtype, **(changes or {}))
    return build(encoder(dtype), views, of, **(given | numbers))


def batch(name, b=64, seed=0):
    """What any objective may use; every array differs from every other."""
    draw = np.random.RandomState(seed)
    answers = draw.randn(b, VIEWS, answer_dim(name))
    if name == "knockoff":
        answers = np.exp(answers) / np.exp(answers).sum(-1, keepdims=True)
    if name == "label_theft":
        answers = draw.randint(0, CLASSES, answers.shape).astype(np.float64)
    return {
        "images": draw.randint(0, 256, (b, 4, 4, 3), np.uint8),
        "asked": draw.randint(0, 256, (b, VIEWS, 4, 4, 3), np.uint8),
        "answers": answers.astype(jnp.result_type(float)),
        "labels": draw.randint(0, 3, b).astype(np.int32),
    }
