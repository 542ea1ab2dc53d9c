"""Every method on a trunk of one layer, which compiles at once."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.models.heads import make_mlp
from sslx.objectives import OBJECTIVES
from sslx.types import Encoder, Task

STEPS = 12
HEAD = {"hidden": 12, "projection": 8}
NUMBERS = {
    "barlow": HEAD | {"off_diagonal": 0.1, "scale": 0.5},
    "byol": HEAD | {"decay": 0.9, "predictor": 16},
    "moco": HEAD | {"temperature": 0.2, "decay": 0.8, "final_decay": 0.9, "queue": 40},
    "simclr": HEAD | {"temperature": 0.5},
    "simsiam": HEAD | {"predictor": 6},
    "supervised": {},
    "vicreg": HEAD | {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
}


def encoder(dtype):
    """A linear map to 10 features, then BatchNorm without scale and shift."""
    mlp_init, mlp = make_mlp((10,), dtype=dtype, norm="all")

    def init(key, images):
        return mlp_init(key, images.reshape(len(images), -1))

    def apply(params, stats, images, train):
        return mlp(params, stats, images.reshape(len(images), -1), train)

    return Encoder(init, apply, 10, {})


def given(key, images):
    """The batch holds the views already, (b, v, h, w, c)."""
    return images


def noisy(key, images):
    """Two views: the image with noise of its own."""
    keys = jax.random.split(key, len(images))
    noise = jax.vmap(lambda k: jax.random.normal(k, (2, *images.shape[1:])))(keys)
    return images.astype(jnp.float32)[:, None] / 255 + noise


def objective(name, views=given, dtype="float64", **changes):
    task = Task(dtype, STEPS, 3)
    return OBJECTIVES[name](encoder(dtype), views, task, **(NUMBERS[name] | changes))


def batch(name, b=64, seed=0):
    draw = np.random.RandomState(seed)
    v = 1 if name == "supervised" else 2
    labels = draw.randint(0, 3, b).astype(np.int32)
    return {"images": draw.randn(b, v, 4, 4, 3), "labels": labels}
