"""Which of a checkpoint's networks is meant, and what is wrong where none is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sslx.models.resnet import STEMS
from sslx.models.torch_names import NAMED, Leaf, expected
from sslx.models.torch_trunk import Network, networks
from sslx.types import UserError, refuse_if

State = Mapping[str, Any]  # names with dots between their words -> arrays
NEAR = 0.75  # share of an encoder's leaves with which a network may be meant for it

USUAL = ("state_dict", "model_state_dict", "model")


class Wanted(NamedTuple):
    """An encoder that weights are to be of; ``width`` None: as they have it."""

    name: str
    stem: str
    width: int | None


def where(network: Network) -> str:
    """Its path, "." for the checkpoint itself."""
    return network.path or "."


def choose(state: State, wanted: Wanted, part: str) -> tuple[Network, list[Network]]:
    """The network that is meant, which fits, and others that fit as well.

    Of several the trained one goes before those that follow it by averaging, then that
    under one of ``USUAL``, the first of these; of equal copies the first is taken.

    Raises:
        UserError: There is none, it is damaged, or it cannot be told from another.
    """
    found = _under(part, networks(state)) if part else networks(state)
    refuse_if(not state, f"no arrays, so no weights of {wanted.name}")
    refuse_if(
        not found,
        f"no weights of {wanted.name} by any names that are known here, but of "
        f"{some(list(state))}; rename the trunk's as torchvision has them",
    )
    fits = [n for n in found if not faults(n, state, wanted)]
    # What nearly fits may be what is meant, and be damaged.
    meant = [n for n in found if n in fits or _is_near(n, state, wanted)]
    if not fits:
        raise UserError(refusal(_closest(meant or found, state, wanted), state, wanted))
    first = [n for n in meant if not n.averaged] or meant
    for network in first:
        if network not in fits:
            raise UserError(refusal(network, state, wanted))
    for key in USUAL:  # what a checkpoint calls its own network
        usual = [n for n in first if n.path.split(".")[0] == key]
        first = usual if len(usual) == 1 else first
    chosen, *others = first
    listed = ", ".join(where(n) for n in first)
    refuse_if(
        not all(_is_copy(chosen, other, state) for other in others),
        f"{len(first)} networks are {wanted.name}: {listed}; say which one is meant, "
        f"victim.weights=FILE#{where(others[-1])} (part={where(others[-1])!r})"
        if others
        else "",
    )
    return chosen, [n for n in fits if n is not chosen]


def _under(part: str, found: list[Network]) -> list[Network]:
    """The networks at a path, else those with its words in theirs."""
    at = [n for n in found if where(n) == part]
    at = at or [n for n in found if f".{part}." in f".{n.path}."]
    known = ", ".join(where(n) for n in found) or "none"
    refuse_if(not at, f"no network under {part!r}; networks in the file: {known}")
    return at


def leaves_of(network: Network, state: State, wanted: Wanted) -> dict[str, Leaf]:
    """The leaves of the encoder by torchvision's name, as wide as is wanted."""
    width, channels = _dims(network, state)
    return expected(wanted.name, wanted.stem, wanted.width or width, channels)


def _dims(network: Network, state: State) -> tuple[int, int]:
    """Width and channels of the images: votes of the first leaves, and the stem."""
    shapes = _shapes(network, state)
    first = shapes.get("conv1.weight", ())
    places = ("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight")
    votes = [shapes[p][0] for p in (*places, "layer1.0.bn1.bias") if shapes.get(p)]
    ((width, _),) = Counter(n for n in votes if n).most_common(1) or ((64, 0),)
    return width, first[1] if len(first) == 4 and first[1] else 3


def _shapes(network: Network, state: State) -> dict[str, tuple[int, ...]]:
    return {place: np.shape(state[name]) for place, name in network.trunk.items()}


def faults(network: Network, state: State, wanted: Wanted) -> str:
    """What keeps a network from being the encoder; "" where it is."""
    if network.twice:
        one, other = network.twice[0]
        return f"{one!r} and {other!r} are the same leaf"
    shapes, theirs = _shapes(network, state), network.trunk
    want = {n: leaf.shape for n, leaf in leaves_of(network, state, wanted).items()}
    unknown = [theirs[n] for n in shapes if n not in want] + network.unknown
    both = [n for n in want if n in shapes and shapes[n] != want[n]]
    lists = {
        "missing": [f"{n} {want[n]}" for n in want if n not in shapes],
        "unknown": [f"{name} {np.shape(state[name])}" for name in unknown],
        "misshapen": [f"{theirs[n]} {shapes[n]} for {want[n]}" for n in both],
    }
    return "; ".join(f"{what} {some(these)}" for what, these in lists.items() if these)


def refusal(network: Network, state: State, wanted: Wanted) -> str:
    """Why a network is not the encoder, and what it is, as one line."""
    width, _ = _dims(network, state)
    others = _others(network, state)
    shapes = _shapes(network, state)
    depths = Counter(p.split(".")[0] for p in shapes if p.endswith(".conv2.weight"))
    blocks = ", ".join(str(depths[f"layer{i}"]) for i in range(1, 5))
    advice = (
        f"these are weights of {' or '.join(others)}"
        if others
        else "rename what is the trunk's as torchvision has it and take out the rest "
        f"(here are stages of {blocks} blocks, of width {width})"
    )
    return (
        f"not weights of {wanted.name} with stem {wanted.stem!r} and width "
        f"{wanted.width or width}: {faults(network, state, wanted)}; {advice}"
    )


def _others(network: Network, state: State) -> list[str]:
    """The encoders that a network is the weights of."""
    width, _ = _dims(network, state)
    return [
        f"{name} with stem {stem!r} and width {width}"
        for name in NAMED
        for stem in STEMS
        if not faults(network, state, Wanted(name, stem, None))
    ]


def _is_near(network: Network, state: State, wanted: Wanted) -> bool:
    """Whether it has most of the encoder's leaves, and is no other encoder."""
    want = leaves_of(network, state, wanted)
    there = sum(place in network.trunk for place in want)
    return there >= NEAR * len(want) and not _others(network, state)


def _closest(found: list[Network], state: State, wanted: Wanted) -> Network:
    """The one with most leaves in place; of equal ones the trained, the first."""

    def score(network: Network) -> tuple[int, int, bool]:
        want, shapes = leaves_of(network, state, wanted), _shapes(network, state)
        right = sum(shapes.get(place) == leaf.shape for place, leaf in want.items())
        return right, sum(place in want for place in shapes), not network.averaged

    return max(found, key=score)


def _is_copy(one: Network, other: Network, state: State) -> bool:
    """Whether two networks that fit hold the same numbers."""
    return all(
        np.array_equal(
            floats(name, state[name]),
            floats(other.trunk[place], state[other.trunk[place]]),
        )
        for place, name in one.trunk.items()
    )


def floats(name: str, value: Any) -> np.ndarray:
    """A leaf as a float32 array.

    Raises:
        UserError: It holds anything but finite floating-point numbers.
    """
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
    refuse_if(
        name.endswith("running_var") and array.min(initial=0) < 0,
        f"{name} holds variances below 0: these weights are of no use",
    )
    return array


def some(items: list[str]) -> str:
    """The first three, each cut where it is long, and how many more."""
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(item[:120] for item in items[:3]) + more
