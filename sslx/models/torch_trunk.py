"""Finds a residual network among the arrays of a checkpoint, wherever it stands.

A checkpoint is a tree: words with dots between lead to arrays. A network is a sub-tree
with the names of a residual network's stages in it; wanted is the one whose leaves are
those of an encoder, all of them and no other. What stands around it (wrappers, heads,
copies, optimisers) needs no list, but for what heads within it are called.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sslx.types import refuse_if

DEEPEST = 32  # words of a name

# Words that wrappers of single modules add anywhere, and that say nothing.
_NOTHING = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
_LEAF = re.compile(
    r"(?:(?:layer[1-4]\.\d+\.)?conv\d|layer[1-4]\.\d+\.downsample\.0)\.weight|"
    r"(?:(?:layer[1-4]\.\d+\.)?bn\d|layer[1-4]\.\d+\.downsample\.1)"
    r"\.(?:weight|bias|running_mean|running_var)"
)
# A network that follows another by averaging, by a word of its path.
_AVERAGED = re.compile(
    r"(momentum|target|teacher|key|ema|swa|shadow|avg)(_\w+)?|\w*averag\w*"
    r"|\w+_(k|momentum|target|teacher|ema|swa|avg)"
)
# Heads and what serves them, by their first word within the network. So is whatever
# has a matrix and no convolution.
_HEAD = re.compile(
    r"(online_)?(fc\d*|linear|classifier|heads?|proj\w*|pred\w*|prototypes)|queue\w*|optim\w*"
)
# The convolutions and norms of a block that is a Sequential with ReLUs between.
_SEQUENTIAL = {0: "conv1", 1: "bn1", 3: "conv2", 4: "bn2", 6: "conv3", 7: "bn3"}
_COUNTER = "num_batches_tracked"
_STAGES = ("layer1", "layer2", "layer3", "layer4")


def _stage(first: int) -> Callable[[re.Match], str]:
    return lambda m: f"layer{int(m[1]) - first + 1}."


# Other code's spellings of torchvision's names, applied one after the other.
_SPELLINGS: tuple[tuple[re.Pattern, str | Callable[[re.Match], str]], ...] = (
    (re.compile(r"^(?:layers|stages)\.([0-3])\.(?=\d)"), _stage(0)),
    (re.compile(r"^(?:conv|res)([2-5])(?:_x)?\.(?=\d)"), _stage(2)),
    (re.compile(r"^encoder\.stages\.([0-3])\.layers\."), _stage(0)),
    (
        re.compile(r"(?<=\.)(?:residual_function|left)\.(\d)\b"),
        lambda m: _SEQUENTIAL.get(int(m[1]), m[0]),
    ),
    (
        re.compile(r"(?<=\.)layer\.(\d)\.(convolution|normalization)\b"),
        lambda m: f"{'conv' if m[2][0] == 'c' else 'bn'}{int(m[1]) + 1}",
    ),
    (re.compile(r"\.norm([1-3])\."), r".bn\1."),
    (re.compile(r"\.(?:shortcut|downsample)\.(?:0|conv\w*)\."), ".downsample.0."),
    (re.compile(r"\.(?:shortcut|downsample)\.(?:1|bn\w*|norm\w*)\."), ".downsample.1."),
    # A stem in a container of its own.
    (re.compile(r"^(?:stem|layer0|conv1|f|features)\.(?:0|conv1?)\."), "conv1."),
    (re.compile(r"^(?:stem|layer0|conv1|f|features)\.(?:1|bn1?|norm1?)\."), "bn1."),
    (re.compile(r"^embedder\.embedder\.convolution\."), "conv1."),
    (re.compile(r"^embedder\.embedder\.normalization\."), "bn1."),
)


class Network(NamedTuple):
    """A sub-tree of a checkpoint that is, or looks like, a residual network.

    Attributes:
        path: The words that lead to it, as the checkpoint has them.
        trunk: torchvision's name -> the checkpoint's.
        twice: The checkpoint's names of leaves that have two.
        unknown: Names that would be a part of it and have no place in it.
        aside: Left out: what -> how many leaves.
        averaged: Whether it follows another by averaging.
    """

    path: str
    trunk: dict[str, str]
    twice: list[tuple[str, str]]
    unknown: list[str]
    aside: dict[str, int]
    averaged: bool


def flatten_names(tree: Any) -> dict[str, Any]:
    """The arrays of nested mappings and lists, by their words with dots between.

    What is no array (numbers, text, settings) is passed over, and so is a mapping that
    was met before.

    Raises:
        UserError: Two arrays come to the same name.
    """
    out: dict[str, Any] = {}
    seen: set[int] = set()  # a file may hold a mapping in itself

    def walk(node: Any, words: tuple[str, ...]) -> None:
        if hasattr(node, "shape") and hasattr(node, "dtype"):
            name = ".".join(words)
            refuse_if(name in out, f"two arrays are called {name!r}; rename one")
            out.update({name: node} if words else {})
        elif isinstance(node, Mapping | list | tuple) and id(node) not in seen:
            if len(words) == DEEPEST:
                return
            seen.add(id(node))
            pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
            for key, value in pairs:
                walk(value, (*words, re.sub(r"\s", " ", str(key))))

    walk(tree, ())
    return out


def networks(arrays: Mapping[str, Any]) -> list[Network]:
    """All residual networks of a checkpoint, in its order; ``arrays`` by flat names."""
    trees: dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]] = {}
    for name in arrays:
        words = () if name.endswith(_COUNTER) else _words(name)
        for i in range(len(words)):
            trees.setdefault(words[:i], []).append((words[i:], name))
    found = {root: _places(leaves) for root, leaves in trees.items()}
    found = {
        root: places
        for root, places in found.items()
        if any(p.startswith(_STAGES) for _, p in places)
    }
    follows = {_words(n)[:-1] for n in arrays if n.split(".")[-1] == "n_averaged"}
    return [_network(root, found, arrays, follows) for root in found]


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word in name.split(".") if word not in _NOTHING)


def _places(leaves: list[tuple[tuple[str, ...], str]]) -> list[tuple[str, str]]:
    """(checkpoint's name, torchvision's) of the leaves of a residual network."""
    order = _order(leaves)
    out = []
    for rest, name in leaves:
        place = ".".join((order.get(rest[0], rest[0]), *rest[1:]))
        for pattern, right in _SPELLINGS:
            place = pattern.sub(right, place)
        if _LEAF.fullmatch(place):
            out.append((name, place))
    return out


def _order(leaves: list[tuple[tuple[str, ...], str]]) -> dict[str, str]:
    """The children of a Sequential by their names: those with weights, in order."""
    numbers = sorted({int(rest[0]) for rest, _ in leaves if rest[0].isdecimal()})
    if len(numbers) < 5:
        return {}
    alone = {rest[1:] for rest, _ in leaves if rest[0] == str(numbers[0])}
    stem = ("conv1", "bn1") if alone == {("weight",)} else ("stem",)
    return {str(n): name for n, name in zip(numbers, (*stem, *_STAGES), strict=False)}


def _network(
    root: tuple[str, ...],
    found: dict[tuple[str, ...], list[tuple[str, str]]],
    arrays: Mapping[str, Any],
    follows: set[tuple[str, ...]],
) -> Network:
    """A network, and what becomes of all other leaves of the checkpoint."""
    trunk: dict[str, str] = {}
    twice = []
    for name, place in found[root]:
        if place in trunk:
            twice.append((trunk[place], name))
        trunk[place] = name
    depth, own = len(root), set(trunk.values())
    own |= {name for pair in twice for name in pair}
    heads = {_words(name)[depth] for name in own}  # first words of the trunk's names
    groups: dict[str, list[str]] = {}
    unknown: list[str] = []
    aside: dict[str, int] = {}
    for name in arrays:
        if name.endswith(_COUNTER):
            aside[_COUNTER] = aside.get(_COUNTER, 0) + 1
        elif name not in own:
            groups.setdefault(_label(name, root), []).append(name)
    for label, names in groups.items():
        words = _words(names[0])
        inside = words[:depth] == root and len(words) > depth
        first = words[depth] if inside else ""
        beside = not inside or _is_aside(first, names, arrays)
        beside = beside or any(r[: depth + 1] == (*root, first) for r in found)
        if beside and first not in heads:
            aside[label] = len(names)
        else:
            unknown += names
    return Network(
        path=_path(next(iter(trunk.values())), depth),
        trunk=trunk,
        twice=twice,
        unknown=unknown,
        aside=aside,
        averaged=any(_AVERAGED.fullmatch(word.lower()) for word in root)
        or any(root[: len(f)] == f for f in follows),
    )


def _label(name: str, root: tuple[str, ...]) -> str:
    """What a leaf that is not the trunk's is counted under."""
    parts, depth = name.split("."), 0
    for i, word in enumerate(parts):
        if word in _NOTHING and i < len(parts) - 1:
            continue
        if root[depth : depth + 1] != (word,):
            return ".".join(parts[: i + 1]) + (".*" if parts[i + 1 :] else "")
        depth += 1
    return name


def _path(name: str, depth: int) -> str:
    """The first words of a name, ``depth`` of them that mean something."""
    parts = name.split(".")
    ends = [i for i, word in enumerate(parts) if word not in _NOTHING]
    return ".".join(parts[: ends[depth]])


def _is_aside(first: str, names: list[str], arrays: Mapping[str, Any]) -> bool:
    """Whether leaves of a network with one first word are none of its trunk's."""
    shapes = [np.shape(arrays[name]) for name in names]
    counter = all(s == () for s in shapes) and "int" in str(arrays[names[0]].dtype)
    matrix = any(len(s) == 2 for s in shapes) and all(len(s) < 3 for s in shapes)
    named = _HEAD.fullmatch(first) or _AVERAGED.fullmatch(first)
    return bool(named or counter or matrix)
