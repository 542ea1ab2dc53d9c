"""Weights of PyTorch's ResNets as ours, and back."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from sslx.models.torch_choice import (
    Wanted,
    choose,
    faults,
    floats,
    leaves_of,
    refusal,
    where,
)
from sslx.models.torch_names import flatten, torch_name
from sslx.models.torch_trunk import Network, flatten_names
from sslx.types import Params, UserError


def from_torch(
    name: str,
    state_dict: Mapping[str, Any],
    *,
    stem: str,
    width: int | None = None,
    part: str = "",
    told: Callable[[str], None] | None = None,
) -> tuple[Params, Params]:
    """Reads the weights of a PyTorch ResNet, wherever in a checkpoint they stand.

    Of all networks in it the one whose leaves are those of the encoder: every leaf
    there, in its shape, and no further one within it but heads. Where several are, the
    one that is trained goes before those that follow it by averaging (teacher, target,
    key, momentum, ema).

    Args:
        name: "resnet18", "resnet34" or "resnet50".
        state_dict: PyTorch's names to floating-point arrays or tensors; mappings within
            mappings, too, and beside them whatever else.
        stem: "cifar" or "imagenet".
        width: Channels of the first convolution; None: as the weights have it.
        part: Words of the path to the network meant ("teacher"); "": found.
        told: Is called with one line that says what was taken and what was left out,
            unless the weights are all there is.

    Returns:
        ``(params, stats)`` as of ``make_encoder(name, stem=stem, width=width)``, in
        float32. The channels of the images are those of the first convolution.

    Raises:
        UserError: No such network or several; a leaf is missing, unknown or of another
            shape, or holds something else than finite floating-point numbers; or the
            name or stem is unknown.
    """
    state = flatten_names(state_dict)
    wanted = Wanted(name, stem, width)
    network, others = choose(state, wanted, part)
    leaves = leaves_of(network, state, wanted)
    arrays = {}
    for place, theirs in network.trunk.items():
        value = floats(theirs, state[theirs])
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # out in h w -> h w in out
        arrays[leaves[place].place] = jnp.asarray(value)
    if told and (network.path or network.aside):
        told(_account(network, others, name))
    out = unflatten_dict(arrays)
    return out["params"], out["stats"]


def _account(network: Network, others: list[Network], name: str) -> str:
    """What was taken of a checkpoint, and what was not, as one line."""
    out = f"took {name} from {network.path}" if network.path else f"took {name}"
    if network.aside:
        listed = ", ".join(f"{what} ({n})" for what, n in network.aside.items())
        out += f"; left out, being no part of its trunk: {listed}"
    if others:
        listed = ", ".join(where(other) for other in others)
        out += f"; {name} too, which FILE#NAME takes instead: {listed}"
    return out


def to_torch(
    name: str, params: Params, stats: Params, *, stem: str
) -> dict[str, np.ndarray]:
    """Our weights under torchvision's names, in PyTorch's layout.

    Args:
        name: "resnet18", "resnet34" or "resnet50".
        params: The encoder's parameters (the trunk alone).
        stats: Its running statistics.
        stem: "cifar" or "imagenet".

    Returns:
        A state dict of arrays, each a copy. ``num_batches_tracked`` is 0, there because
        strict loading asks for it.

    Raises:
        UserError: The trees are not those of this encoder.
    """
    out = {}
    for place, leaf in flatten(params, stats).items():
        value = np.array(leaf)
        if value.ndim == 4:
            value = np.array(value.transpose(3, 2, 0, 1), order="C")
        out[torch_name(place)] = value
    out = dict(sorted(out.items()))
    own, wanted = (
        Network("", {n: n for n in out}, [], [], {}, False),
        (name, stem, None),
    )
    if faults(own, out, Wanted(*wanted)):
        raise UserError(refusal(own, out, Wanted(*wanted)))
    for theirs in [n for n in out if n.endswith(".running_var")]:
        counter = theirs.replace("running_var", "num_batches_tracked")
        out[counter] = np.zeros((), np.int64)
    return out
