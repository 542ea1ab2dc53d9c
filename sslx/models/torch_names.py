"""PyTorch's names of our residual networks.

torchvision's names: ``conv1``, ``bn1``, ``layerI.J.convK``, ``layerI.J.bnK``,
``layerI.J.downsample.0`` (convolution) and ``.1`` (norm).
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from sslx.models import resnet
from sslx.models.linen import pure
from sslx.registry import pick
from sslx.types import Params

# The encoders that PyTorch has too.
NAMED = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}

_MODULES = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "norm1": "bn1",
    "norm2": "bn2",
    "norm3": "bn3",
    "shortcut_conv": "downsample.0",
    "shortcut_norm": "downsample.1",
}
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


class Leaf(NamedTuple):
    """Where an array stands here, and its shape in PyTorch's layout."""

    place: tuple[str, ...]  # ("params" or "stats", module, ..., leaf)
    shape: tuple[int, ...]


def torch_name(place: tuple[str, ...]) -> str:
    """PyTorch's name of one of our leaves, given as a ``Leaf.place``."""
    _, *modules, leaf = place
    words = []
    for module in modules:
        block = re.fullmatch(r"stage(\d+)_block(\d+)", module)
        if block:
            words.append(f"layer{block[1]}.{int(block[2]) - 1}")
        else:
            words.append(_MODULES.get(module, module))
    return ".".join([*words, _LEAVES.get(leaf, leaf)])


def flatten(params: Params, stats: Params) -> dict[tuple[str, ...], Any]:
    """Our trees as one dict from places to leaves."""
    return flatten_dict({"params": params, "stats": stats})


@lru_cache(maxsize=32)
def expected(name: str, stem: str, width: int, channels: int) -> dict[str, Leaf]:
    """All leaves of an encoder by PyTorch's name, sorted; ``channels`` the images'.

    Raises:
        UserError: Not an encoder that PyTorch has, or no such stem.
    """
    build = pick(NAMED, name, "encoder with PyTorch names")
    module, _ = build(stem=stem, width=width)
    images = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    trees = jax.eval_shape(pure(module)[0], jax.random.key(0), images)
    out = {}
    for place, leaf in flatten(*trees).items():
        h_w_in_out = leaf.shape
        axes = (3, 2, 0, 1) if len(h_w_in_out) == 4 else (0,)
        out[torch_name(place)] = Leaf(place, tuple(h_w_in_out[i] for i in axes))
    return dict(sorted(out.items()))  # the stem first, as in the messages
