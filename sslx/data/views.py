"""Recipes of augmentation, and the views that are sent; each can be made again."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx.data.augment import augment_batch
from sslx.data.presets import PRESETS, Recipe
from sslx.rng import stream
from sslx.types import UserError

CHUNK = 256  # views made at once; fewer are padded, so that there is one program


def is_plain(r: dict) -> bool:
    """Whether images are asked as they are, from the recipe of a responses run."""
    return read_recipe(r["ask_augment"][0]) == PRESETS["none"][0]


def _cpu() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        raise UserError(
            "JAX was told to do without the CPU, which makes the views that are asked; "
            "add it: JAX_PLATFORMS=cuda,cpu"
        ) from None


def make_asked(images: np.ndarray, rows: np.ndarray, r: dict) -> np.ndarray:
    """The views of some images, uint8 (n * views, h, w, c), image by image.

    The key of a view is a function of the seed, the image's row in the pool and the
    view's number. They are made on the host's CPU, whatever accelerator there is, and
    rounded to whole grey levels as a picture file is: what is made again is the same
    to the bit, which the ledger's hashes check.

    Args:
        images: The pool's, uint8 (pool, h, w, c).
        rows: Which of them, (n,).
        r: The recipe of a responses run.
    """
    views = r["views"]
    repeated = np.repeat(rows, views)
    if is_plain(r):
        return images[repeated]
    recipe = read_recipe(r["ask_augment"][0])
    numbers = np.tile(np.arange(views), len(rows))
    return make_views(r["seed"], images, repeated, numbers, recipe)


def make_views(
    seed: int, images: np.ndarray, rows: np.ndarray, numbers: np.ndarray, recipe: Recipe
) -> np.ndarray:
    """A view of each of some rows, uint8 (n, h, w, c); keys as of ``make_asked``.

    Args:
        seed: Of what is sent.
        images: uint8 (pool, h, w, c).
        rows: Which of them, (n,).
        numbers: Which view of each, (n,).
        recipe: What is done to them.
    """
    out = np.empty((len(rows), *images.shape[1:]), np.uint8)
    with jax.default_device(_cpu()):
        key = stream(seed, "asked")
        make = _maker(recipe)
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            short = CHUNK - len(rows[part])
            which = np.pad(np.stack([rows, numbers])[:, part], [(0, 0), (0, short)])
            made = make(key, images[which[0]], *which)
            out[part] = np.asarray(made)[: CHUNK - short]
    return out


@lru_cache(maxsize=8)  # one program a recipe, however often views are made
def _maker(recipe: Recipe):
    return jax.jit(partial(_views, recipe=recipe))


def _views(key, images, rows, numbers, *, recipe):
    def own(row, number):
        return jax.random.fold_in(jax.random.fold_in(key, row), number)

    made = augment_batch(jax.vmap(own)(rows, numbers), images, recipe)
    return jnp.clip(jnp.round(made * 255), 0, 255).astype(jnp.uint8)


def read_recipe(numbers: dict[str, Any]) -> Recipe:
    """An augmentation recipe, from a run's recipe."""
    # JSON has made lists of the tuples.
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()
    }
    return Recipe(**given)
