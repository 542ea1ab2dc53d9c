"""PyTorch's names of our residual networks, and which names of a checkpoint are theirs.

torchvision's names: ``conv1``, ``bn1``, ``layerI.J.convK``, ``layerI.J.bnK``,
``layerI.J.downsample.0`` (convolution) and ``.1`` (norm). Many CIFAR ResNets write
``shortcut`` for ``downsample``.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from sslx.models import resnet
from sslx.models.linen import pure
from sslx.registry import pick
from sslx.types import Params, UserError

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

# What a checkpoint may keep its weights under, beside epochs and optimisers.
_INSIDE = ("state_dict", "model_state_dict", "model")
# Names that only say where in a larger model the trunk stands; any chain of them.
_WRAPPERS = {
    "module",  # DataParallel
    "model",
    "net",
    "encoder",
    "backbone",
    "encoder_q",  # MoCo
    "base_encoder",  # MoCo v3
    "online_network",  # BYOL
    "online_encoder",
    "student",  # DINO
}
# No part of the trunk, by the first name after the wrappers.
_DROPPED = re.compile(
    r"(online_)?(fc\d*|linear|classifier|heads?|proj\w*|pred\w*|prototypes)"
    r"|(momentum|target|teacher|key)(_\w+)?|\w+_(k|momentum|target|teacher)"
    r"|queue\w*"
)


class Leaf(NamedTuple):
    """Where an array stands here, and its shape in PyTorch's layout."""

    place: tuple[str, ...]  # ("params" or "stats", module, ..., leaf)
    shape: tuple[int, ...]


class Found(NamedTuple):
    """The names of a checkpoint: the trunk's, as torchvision has them, and the rest."""

    trunk: dict[str, str]  # torchvision's name -> the checkpoint's
    dropped: dict[str, int]  # what was left out by name -> how many leaves


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


@lru_cache(maxsize=16)
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


def unwrap(checkpoint: Mapping) -> Mapping:
    """The mapping of names to arrays inside a checkpoint of several things."""
    for key in _INSIDE:
        if isinstance(checkpoint.get(key), Mapping):
            return unwrap(checkpoint[key])
    return checkpoint


def find_trunk(names: Iterable[str]) -> Found:
    """Sorts the names of a checkpoint.

    Raises:
        UserError: Two names are the same leaf of the trunk.
    """
    trunk: dict[str, str] = {}
    dropped: dict[str, int] = {}
    for name in names:
        words = str(name).split(".")
        i = 0
        while i < len(words) - 1 and words[i] in _WRAPPERS:
            i += 1
        if _DROPPED.fullmatch(words[i]):
            label = ".".join(words[: i + 1]) + (".*" if words[i + 1 :] else "")
            dropped[label] = dropped.get(label, 0) + 1
        elif words[-1] == "num_batches_tracked":
            dropped[words[-1]] = dropped.get(words[-1], 0) + 1
        else:
            place = ".".join(words[i:]).replace(".shortcut.", ".downsample.")
            if place in trunk:
                raise UserError(
                    f"{trunk[place]!r} and {name!r} are both the trunk's {place}: pass "
                    "the weights of one network only"
                )
            trunk[place] = name
    return Found(trunk, dropped)
