"""A training run small enough for tests, on the real engine and the real SimCLR."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.data.augment import augment_batch
from sslx.data.presets import PRESETS
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.train.fit import Loop, Training
from sslx.train.optim import make_optimiser
from sslx.types import Task

LOOP = Loop(
    log_every=1, save_every=4, keep=2, steps_per_dispatch=3, data_on_device=True
)


def images(n=48, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (n, 8, 8, 1), np.uint8)


def objective(dtype="float32"):
    encoder = make_encoder("conv3", width=4, dtype=dtype)
    preset = PRESETS["mild"]

    def views(key, x):
        keys = jax.random.split(key, len(preset))
        each = [augment_batch(k, x, r) for k, r in zip(keys, preset, strict=True)]
        return jnp.stack(each, axis=1).astype(dtype)

    task = Task(dtype, steps=10, classes=0)
    return OBJECTIVES["simclr"](
        encoder, views, task, temperature=0.5, hidden=0, projection=8
    )


def training(steps=10, name="sgd", learning_rate=0.05, **changes):
    optimiser, schedule = make_optimiser(
        name,
        learning_rate=learning_rate,
        weight_decay=1e-4,
        momentum=0.9,
        warmup_steps=0,
        steps=steps,
    )
    default = Training(
        objective=objective(),
        optimiser=optimiser,
        schedule=schedule,
        data={"images": images()},
        seed=3,
        steps=steps,
        batch_size=16,
    )
    return default._replace(**changes)


def assert_equal(a, b):
    """Bit-equal trees."""
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))
