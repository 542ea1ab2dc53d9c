"""The attacker's images."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.embed import recording
from sslx.experiment.recipes import reading, share
from sslx.types import UserError


def pool_of(
    config: ConfigDict, pool: str, test_kept: float | None
) -> tuple[str, str, np.ndarray]:
    """The attacker's images: (data set, split, rows of the split)."""
    options, victims = reading(config), config.victim.dataset
    if pool == "held_out":
        ids = data.ids(victims, "train", options)
        _, rows = divide(ids, config.data.held_out, config.data.split_seed)
        return victims, "train", rows
    if pool == "test" and test_kept is not None:
        share("steal.test_kept", test_kept)
        ids = data.ids(victims, "test", options)
        rows, _ = divide(ids, test_kept, config.data.split_seed)
        return victims, "test", rows
    info = data.describe(pool, options)
    trained = not (config.victim.weights or config.victim.source)
    if trained and info.identity == data.describe(victims, options).identity:
        raise UserError(
            f"steal.pool {pool!r} is what the victim was trained on; write held_out or "
            "test for the images it did not see"
        )
    return pool, "train", np.arange(info.sizes["train"])


class Pool(NamedTuple):
    """The attacker's images.

    Attributes:
        identity: Of their data set, as in ``data.Info``.
        slug: Likewise.
        image_shape: (h, w, c).
        split: Of the data set.
        size: How many they are.
        load: Gives them, uint8 (size, h, w, c).
        labels: Gives their classes, int (size,); None where they have none.
    """

    identity: dict[str, Any]
    slug: str
    image_shape: tuple[int, ...]
    split: str
    size: int
    load: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray] | None


def _answered(config: ConfigDict) -> Pool:
    """The images that an API was asked elsewhere, but for the probes' test images."""
    names, options = [], reading(config)
    for name in config.probe.datasets:
        try:
            data.describe(name, options)
            names.append(name)
        except data.Missing:
            if not config.probe.skip_missing:
                raise
    file = recording.recorded_in(config.victim.source)
    images = recording.askable(file, names, options)
    digest = hashlib.sha256(recording.content(images).tobytes()).hexdigest()
    identity, shape = {"answered": digest}, images.shape[1:]
    return Pool(identity, "answered", shape, "all", len(images), lambda: images, None)


def open_pool(config: ConfigDict, pool: str, test_kept: float | None) -> Pool:
    """The attacker's images, as ``steal.pool`` names them."""
    recorded = recording.recorded_in(config.victim.source)
    if recorded and pool != "answered":
        raise UserError(
            f"victim.source={config.victim.source!r} answers only the images in that "
            f"file; write steal.pool='answered', not {pool!r}"
        )
    if pool == "answered":
        if not recorded:
            raise UserError("steal.pool='answered' needs victim.source='npz:FILE'")
        return _answered(config)
    name, split, rows = pool_of(config, pool, test_kept)
    options = reading(config)
    info = data.describe(name, options)
    return Pool(
        *(info.identity, info.slug, info.image_shape, split, len(rows)),
        lambda: data.load(name, split, options).images[rows],
        lambda: data.load(name, split, options).labels[rows],
    )


def pool_part(config: ConfigDict, pool: Pool) -> dict[str, Any]:
    """What determines the attacker's images, for a recipe."""
    s = config.steal
    return {
        "pool": pool.identity,
        "split": pool.split,
        "held_out": config.data.held_out if s.pool == "held_out" else None,
        "test_kept": s.test_kept if s.pool == "test" else None,
        "split_seed": config.data.split_seed,
    }
