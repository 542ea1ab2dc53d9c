"""Weights of PyTorch's ResNets as ours, and back."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from sslx.models.resnet import STEMS
from sslx.models.torch_names import (
    NAMED,
    Leaf,
    expected,
    find_trunk,
    flatten,
    torch_name,
    unwrap,
)
from sslx.types import Params, UserError, refuse_if

Shapes = dict[str, tuple[int, ...]]


def from_torch(
    name: str,
    state_dict: Mapping[str, Any],
    *,
    stem: str,
    width: int | None = None,
    told: Callable[[str], None] | None = None,
) -> tuple[Params, Params]:
    """Reads the weights of a PyTorch ResNet.

    Prefixes (``module.``, ``encoder.``, ``backbone.``, ``encoder_q.``, ...) are
    stripped, a checkpoint's ``state_dict`` or ``model`` is taken out of it. Heads,
    projectors, predictors, momentum copies, queues and ``num_batches_tracked`` are left
    out by name; every other leaf must be there, in its shape, and no further one.

    Args:
        name: "resnet18", "resnet34" or "resnet50".
        state_dict: PyTorch's names to floating-point arrays or tensors.
        stem: "cifar" or "imagenet".
        width: Channels of the first convolution; None: as the weights have it.
        told: Is called with one line that lists what was left out, if anything was.

    Returns:
        ``(params, stats)`` as of ``make_encoder(name, stem=stem, width=width)``, in
        float32. The channels of the images are those of the first convolution.

    Raises:
        UserError: A leaf is missing, unknown or of another shape, or holds something
            else than finite floating-point numbers; or the name or stem is unknown.
    """
    state = unwrap(state_dict)
    found = find_trunk(state)
    shapes = {place: np.shape(state[theirs]) for place, theirs in found.trunk.items()}
    leaves = _match(name, stem, width, shapes, found.trunk)
    arrays = {}
    for torch_place, theirs in found.trunk.items():
        value = _floats(theirs, state[theirs])
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # out in h w -> h w in out
        arrays[leaves[torch_place].place] = jnp.asarray(value)
    if told and found.dropped:
        listed = ", ".join(f"{what} ({n})" for what, n in found.dropped.items())
        told(f"left out, being no part of {name}'s trunk: {listed}")
    out = unflatten_dict(arrays)
    return out["params"], out["stats"]


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
    shapes = {theirs: value.shape for theirs, value in out.items()}
    _match(name, stem, None, shapes, {theirs: theirs for theirs in out})
    for theirs in [n for n in out if n.endswith(".running_var")]:
        counter = theirs.replace("running_var", "num_batches_tracked")
        out[counter] = np.zeros((), np.int64)
    return out


def _floats(name: str, value: Any) -> np.ndarray:
    """A leaf as a float32 array."""
    if hasattr(value, "detach"):  # a tensor: off graph and device, to a type NumPy has
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array = np.asarray(value)
    refuse_if(
        not jnp.issubdtype(array.dtype, jnp.floating),
        f"{name} holds {array.dtype}, not floating-point numbers; make quantised "
        "weights floating-point first",
    )
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        array = array.astype(np.float32)
    refuse_if(
        not np.isfinite(array).all(),
        f"{name} holds NaN or infinite numbers (as float32): these weights are of "
        "no use",
    )
    return array


def _match(
    name: str, stem: str, width: int | None, shapes: Shapes, theirs: dict[str, str]
) -> dict[str, Leaf]:
    """The leaves of the encoder; raises a UserError unless ``shapes`` are theirs.

    Both by torchvision's name; ``theirs`` are the names the user knows.
    """
    first = shapes.get("conv1.weight", ())
    found_width, channels = first[:2] if len(first) == 4 and min(first) else (64, 3)
    leaves = expected(name, stem, width or found_width, channels)
    want = _shapes(leaves)
    if shapes == want:
        return leaves
    both = [n for n in want if n in shapes and shapes[n] != want[n]]
    lists = {
        "missing": [f"{n} {want[n]}" for n in want if n not in shapes],
        "unknown": [f"{theirs[n]} {shapes[n]}" for n in shapes if n not in want],
        "misshapen": [f"{theirs[n]} {shapes[n]} for {want[n]}" for n in both],
    }
    faults = "; ".join(f"{what} {_some(some)}" for what, some in lists.items() if some)
    others = [
        f"{other} with stem {like!r} and width {found_width}"
        for other in NAMED
        for like in STEMS
        if shapes == _shapes(expected(other, like, found_width, channels))
    ]
    advice = (
        f"these are weights of {' or '.join(others)}"
        if others
        else "rename what is the trunk's as torchvision has it and take out the rest"
    )
    raise UserError(
        f"not weights of {name} with stem {stem!r} and width {width or found_width}: "
        f"{faults}; {advice}"
    )


def _shapes(leaves: dict[str, Leaf]) -> Shapes:
    return {name: leaf.shape for name, leaf in leaves.items()}


def _some(items: list[str]) -> str:
    """The first three and how many more."""
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more
