"""Checkpoints that nobody has thought of: read right, or refused in one line."""

import functools
import io
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from sslx.models import from_torch, read_weights, to_torch
from sslx.models.torch_trunk import flatten_names
from sslx.types import UserError
from tests.models import test_torch_trunk as layouts
from tests.models.test_torch_weights import weights

pytestmark = pytest.mark.slow
SETTINGS = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
WORDS = ["module", "_orig_mod", "net", "model", "backbone", "my_model", "f", "0", "enc"]
AVERAGED = [
    "teacher",
    "momentum_encoder",
    "target_net",
    "encoder_k",
    "ema",
    "swa_model",
]
OTHERS = ["student", "model2", "best", "decoder", "generator"]


@functools.cache
def network(seed):
    """Weights that float16 and bfloat16 hold exactly."""
    named = weights(width=2, seed=seed)
    return {name: np.round(x * 4) / np.float32(4) for name, x in named.items()}


SPELLINGS = {
    "torchvision": lambda: {n: n for n in network(0)},
    "shortcut": lambda: {n: n.replace("downsample", "shortcut") for n in network(0)},
    "pooled": lambda: layouts.children("014567"),
    "unpooled": lambda: layouts.children("013456"),
    "cifar100": layouts.cifar100,
    "transformers": layouts.transformers,
    "compiled": lambda: layouts.inner("_orig_mod", 1),
    "wrapped": lambda: layouts.inner("_checkpoint_wrapped_module", 2),
}


@functools.cache
def spelling(name):
    """torchvision's names -> others', in the order of the former."""
    return dict(zip(network(0), SPELLINGS[name](), strict=True))


class Case(NamedTuple):
    """A checkpoint, and whether a careful person would read it."""

    tree: dict
    good: bool
    what: tuple

    def __repr__(self):
        names = list(flatten_names(self.tree))
        return f"{self.what} {names[:2]} ... {names[-2:]}"


words = st.lists(st.sampled_from(WORDS), max_size=3)
heads = st.sampled_from(["fc", "head", "projector", "mlp", "prototypes", "g"])
damages = st.sampled_from(
    ["missing", "misshapen", "transposed", "whole", "nan", "bias", "block", "renamed"]
)


def damaged(draw, tree, damage):
    """One leaf changed so that no careful person would read on."""
    name = draw(st.sampled_from(sorted(tree)))
    kernels = sorted(n for n, x in tree.items() if x.ndim == 4)
    out = dict(tree)
    if damage == "missing":
        del out[name]
    elif damage == "misshapen":
        out[name] = np.concatenate([tree[name], tree[name]])
    elif damage == "transposed":
        name = draw(st.sampled_from([n for n in kernels if len({*tree[n].shape}) > 1]))
        out[name] = tree[name].transpose(2, 3, 1, 0)
    elif damage == "whole":
        out[name] = tree[name].astype(np.int32)
    elif damage == "nan":
        out[name] = tree[name] * np.float32(np.nan)
    elif damage == "bias":
        out[draw(st.sampled_from(kernels)).replace("weight", "bias")] = np.ones(2, "f")
    elif damage == "block":
        out["layer1.7.conv1.weight"] = np.ones((2, 2, 3, 3), "f")
    else:
        out[f"{name}_old"] = out.pop(name)
    return out


@st.composite
def checkpoints(draw):
    """A trunk somewhere, whole or damaged, among what else is in a checkpoint."""
    names = spelling(draw(st.sampled_from(sorted(SPELLINGS))))
    own = {names[n]: x for n, x in network(0).items()}
    damage = draw(st.none() | damages)
    if damage:
        own = damaged(draw, own, damage)
    dtype = draw(st.sampled_from([None, np.float16, np.float64, ml_dtypes.bfloat16]))
    if dtype and damage != "whole":
        own = {n: x.astype(dtype) for n, x in own.items()}
    if draw(st.booleans()):
        own |= {
            n.replace("running_mean", "num_batches_tracked"): np.int64(7)
            for n in own
            if n.endswith("running_mean")
        }
    for head in draw(st.lists(heads, max_size=2, unique=True)):
        own[f"{head}.0.weight"] = np.ones((5, 16), "f")
        own[f"{head}.0.bias"] = np.ones(5, "f")
    front = draw(words)
    parts = [(front, own)]
    second = draw(st.sampled_from([None, "averaged", "plain", "junk", "copy"]))
    if second:
        first = draw(st.sampled_from(AVERAGED if second == "averaged" else OTHERS))
        rest = [first, *draw(words)]
        more = {
            "averaged": network(1),
            "plain": network(1),
            "copy": network(0),
            "junk": {"0.weight": np.ones((3, 3), "f"), "step": np.int64(3)},
        }[second]
        parts.append((rest, more))
    if draw(st.booleans()):
        state = {str(i): {"mu": np.ones((2, 3, 3, 3), "f")} for i in range(9)}
        parts.append((["optimizer", "state"], layouts_flat(state)))
    if draw(st.booleans()):
        parts.reverse()
    tree = {}
    for path, leaves in parts:
        cut = draw(st.integers(0, len(path)))  # dots, or mappings within mappings
        node = tree
        for word in path[:cut]:
            node = node.setdefault(word, {})
        node |= {".".join((*path[cut:], n)): x for n, x in leaves.items()}
    tree |= draw(
        st.sampled_from([{}, {"epoch": 3}, {"args": {"lr": 0.1}, "arch": "r"}])
    )
    told_apart = second != "plain" or front[:1] == ["model"]
    good = not damage and told_apart
    return Case(tree, good, (damage, second, cut))


def layouts_flat(state):
    return {f"{i}.{k}": x for i, more in state.items() for k, x in more.items()}


@pytest.fixture(scope="module", autouse=True)
def ready():
    """What is cached, before anything is drawn: JAX draws from ``random``, too."""
    network(0), network(1), files()


@given(checkpoints())
@SETTINGS
def test_checkpoints(case):
    # Catches other weights than those put in, good ones refused, a traceback.
    tree, good, what = case
    lines = []
    try:
        params, stats = from_torch("resnet18", tree, stem="cifar", told=lines.append)
    except UserError as error:
        assert not good, (what, str(error))
        assert str(error) and "\n" not in str(error)
        return
    assert good, what
    back = to_torch("resnet18", params, stats, stem="cifar")
    for name, x in network(0).items():
        assert back[name].tobytes() == x.tobytes(), (what, name)
    assert len(lines) <= 1 and "\n" not in "".join(lines)


@functools.cache
def files():
    """Bytes of good files of each kind."""
    named, box = network(0), io.BytesIO()
    np.savez(box, **named)
    out = [box.getvalue(), save(dict(named))]
    try:
        import torch
    except ImportError:
        return out
    for new in (True, False):
        box = io.BytesIO()
        state = {n: torch.from_numpy(x) for n, x in named.items()}
        torch.save(state, box, _use_new_zipfile_serialization=new)
        out.append(box.getvalue())
    return out


@given(st.data())
@SETTINGS
def test_damaged_files(tmp_path_factory, data):
    # Catches a library's traceback for a file that is cut, spliced or altered.
    whole = data.draw(st.sampled_from(files()))
    path = tmp_path_factory.getbasetemp() / "fuzz.pth"
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, 2000) | st.integers(0, len(whole) - 1))
        content[at % len(content)] = data.draw(st.integers(0, 255))
    start = data.draw(st.sampled_from([0, 0, 0, 1, 7, 64]))
    stop = data.draw(st.just(len(whole)) | st.integers(1, len(whole)))
    path.write_bytes(bytes(content[start:stop]) or b"x")
    try:
        found = read_weights(path)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert all(isinstance(x, np.ndarray) for x in found.values())
