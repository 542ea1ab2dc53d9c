"""Encoders that others run, as finished runs."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from sslx.embed.answers import ITEM, Embed
from sslx.embed.function import _asking, identify
from sslx.embed.recording import KEY, _recorded
from sslx.train import checkpoint
from sslx.types import UserError

KINDS = ("npz", "python")


def opened(path: Path, meta: dict[str, Any]) -> Embed:
    """``embed`` of an API's run, uint8 (n, h, w, c) to float32 (n, d).

    Raises:
        UserError: The recording is damaged, or the function is not what it was.
    """
    if meta["origin"] == "npz":
        n, sealed = meta["images"], meta.get("weights")
        like = {
            "keys": jax.ShapeDtypeStruct((n, KEY), np.uint8),
            "embeddings": jax.ShapeDtypeStruct((n, meta["dim"]), np.float32),
        }
        found = jax.device_get(checkpoint.load(path, ITEM, like, sealed=sealed))
        return _recorded(found["keys"], found["embeddings"])
    spec = meta["function"]
    if identify(spec, tuple(meta["image_shape"]))[0] != meta["answers"]:
        raise UserError(
            f"{spec} answers otherwise than when {path} was made; start the experiment "
            "again, which makes a new victim"
        )
    return _asking(spec, meta["dim"])
