"""The network in a checkpoint, by how published code writes one: docs/pytorch.md."""

import functools

import numpy as np
import pytest

from sslx.models import from_torch, to_torch
from sslx.types import UserError
from tests.models.test_torch_weights import same, weights

NAMED = weights()
COPY = {n: x * 2 for n, x in NAMED.items()}
N = len(NAMED)
HEAD = {
    "0.weight": np.ones((9, 32)),
    "1.running_mean": np.ones(9),
    "0.bias": np.ones(9),
}


def under(prefix, tree):
    return {f"{prefix}{name}": x for name, x in tree.items()}


def read(state, want=NAMED, **kw):
    lines = []
    params, stats = from_torch("resnet18", state, stem="cifar", told=lines.append, **kw)
    back = to_torch("resnet18", params, stats, stem="cifar")
    same({n: back[n] for n in want}, want)
    assert len(lines) <= 1 and "\n" not in "".join(lines)
    return "".join(lines)


def refusal(state, **kw):
    with pytest.raises(UserError) as error:
        from_torch("resnet18", state, stem="cifar", **kw)
    assert "\n" not in str(error.value)
    return str(error.value)


def children(order):
    """The names of an ``nn.Sequential`` of a ResNet's children."""
    words = dict(
        zip(("conv1", "bn1", *(f"layer{i}" for i in range(1, 5))), order, strict=True)
    )
    return {
        ".".join((words[n.split(".")[0]], *n.split(".")[1:])): x
        for n, x in NAMED.items()
    }


def cifar100():
    """The names of a much-copied set of CIFAR-100 networks."""
    places = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4"}
    out = {}
    for name, x in NAMED.items():
        words = name.split(".")
        if not words[0].startswith("layer"):
            words[0] = f"conv1.{int(words[0] == 'bn1')}"
        else:
            words[0] = f"conv{int(words[0][-1]) + 1}_x"
            words[2] = words[2].replace("downsample", "shortcut")
            if words[2] in places:
                words[2] = f"residual_function.{places[words[2]]}"
        out[".".join(words)] = x
    return out


def transformers():
    """The names of the ResNets of the library of that name."""
    out = {}
    for name, x in NAMED.items():
        words = name.split(".")
        kind = {"c": "convolution", "b": "normalization"}
        if not words[0].startswith("layer"):
            out[f"embedder.embedder.{kind[words[0][0]]}.{words[-1]}"] = x
            continue
        front = f"encoder.stages.{int(words[0][-1]) - 1}.layers.{words[1]}."
        if words[2] == "downsample":
            middle = f"shortcut.{kind['cb'[int(words[3])]]}"
        else:
            middle = f"layer.{int(words[2][-1]) - 1}.{kind[words[2][0]]}"
        out[f"{front}{middle}.{words[-1]}"] = x
    return out


def inner(word, depth):
    """A wrapper around each module at some depth."""
    return {
        ".".join((*n.split(".")[:depth], word, *n.split(".")[depth:])): x
        for n, x in NAMED.items()
    }


PLACES = {
    "torch.compile": under("_orig_mod.", NAMED),
    "compile around DDP": under("_orig_mod.module.", NAMED),
    "DDP around compile": under("module._orig_mod.encoder.", NAMED),
    "compiled stages": inner("_orig_mod", 1),
    "FSDP": under("_fsdp_wrapped_module.", inner("_fsdp_wrapped_module", 2)),
    "activation checkpoints": inner("_checkpoint_wrapped_module", 2),
    "children, with ReLU and pool": under("backbone.", children("014567")),
    "children, without the pool": under("f.", children("013456")),
    "children, functional ReLU": under("features.", children("012345")),
    "children, then a classifier": children("014567") | {"9.weight": np.ones((10, 32))},
    "children of children": under("encoder.0.", children("014567")),
    "a stem of its own": {
        (n if n.startswith("layer") else f"stem.{n}"): x for n, x in NAMED.items()
    },
    "a stem as a Sequential": {
        n.replace("conv1.", "layer0.0.", 1).replace("bn1.", "layer0.1.", 1)
        if not n.startswith("layer")
        else n: x
        for n, x in NAMED.items()
    },
    "VISSL": {
        "classy_state_dict": {
            "base_model": {"model": {"trunk": under("_feature_blocks.", NAMED)}}
        },
        "loss": {},
        "iteration": 3,
    },
    "mmselfsup": {"meta": {"epoch": 3}, "state_dict": under("backbone.", NAMED)},
    "CIFAR-100's": under("module.", cifar100()),
    "transformers": under("resnet.", transformers())
    | {"classifier.1.weight": np.ones((10, 32))},
    "a list": {"networks": [NAMED, {"epoch": 3}], "lr": [0.1, 0.2]},
    "numbers beside": {"epoch": 3, "best": 0.5, "arch": "resnet18", **NAMED},
    "counters beside": NAMED | {"n_averaged": np.int64(3)},
    "any words at all": under("my.own.thing.", NAMED),
    "Barlow Twins": {
        "epoch": 9,
        "model": under("module.backbone.", NAMED)
        | under("module.projector.", HEAD)
        | {f"module.bn.{n}": np.ones(9) for n in ("running_mean", "running_var")},
        "optimizer": {
            "state": {0: {"mu": np.ones((4, 3, 3, 3))}},
            "param_groups": [{}],
        },
    },
    "SimSiam": {
        "state_dict": under("module.encoder.", NAMED)
        | under("module.encoder.fc.", HEAD)
        | under("module.predictor.", HEAD)
    },
    "SwAV": under("module.", NAMED)
    | under("module.projection_head.", HEAD)
    | {"module.prototypes.weight": np.ones((30, 9))},
    "a head by its shape": NAMED | under("g.", HEAD) | under("mlp.", HEAD),
    "a decoder beside": under("enc.", NAMED) | {"dec.0.weight": np.ones((4, 3, 3, 3))},
}


@pytest.mark.parametrize("where", PLACES)
def test_places(where):
    # Catches a wrapper, a spelling or a neighbour that hides the weights.
    read(PLACES[where])


def test_a_mapping_in_itself():
    # Catches a recursion without end, or one that doubles at each of many levels.
    loop = {"weights": NAMED}
    loop["again"], loop["list"] = loop, [loop, loop]
    read(loop)
    read(
        {**NAMED, "tensor": None, "deep": functools.reduce(lambda x, _: [x], range(99))}
    )
    laughs = NAMED
    for _ in range(30):
        laughs = {"a": laughs, "b": laughs}
    read(laughs)
    assert "no arrays" in refusal({"w": [1.0, "2"]})


PAIRS = {
    "MoCo": under("module.encoder_q.", NAMED) | under("module.encoder_k.", COPY),
    "MoCo v3": under("module.base_encoder.", NAMED)
    | under("module.momentum_encoder.", COPY),
    "DINO": {
        "student": under("module.backbone.", NAMED) | under("module.head.mlp.", HEAD),
        "teacher": under("backbone.", COPY) | under("head.mlp.", HEAD),
        "dino_loss": {"center": np.ones((1, 9))},
    },
    "BYOL": under("online_encoder.net.", NAMED) | under("target_encoder.net.", COPY),
    "BYOL, the user's net twice": under("net.", NAMED)
    | under("online_encoder.net.", NAMED)
    | under("target_encoder.net.", COPY),
    "a copy within": NAMED | under("momentum_encoder.", COPY),
    "timm": {"state_dict": NAMED, "state_dict_ema": COPY},
    "model_ema": {"model": NAMED, "model_ema": under("module.", COPY)},
    "AveragedModel": {
        "net": NAMED,
        "other": under("module.", COPY) | {"n_averaged": np.int64(3)},
    },
    "Lightning": {
        "state_dict": under("model.", NAMED),
        "callbacks": {"StochasticWeightAveraging": {"model": COPY}},
    },
    "the usual word": {"best_state_dict": COPY, "state_dict": NAMED},
    "two usual words": {"model": under("module.", COPY), "state_dict": NAMED},
    "the copy first": {"teacher": COPY, "student": NAMED},
}


@pytest.mark.parametrize("pair", PAIRS)
def test_the_trained_one_is_taken(pair):
    # Catches the average taken for the network, or not told of.
    told = read(PAIRS[pair])
    assert "too, which FILE#NAME takes instead: " in told
    other = told.rpartition("instead: ")[2].split(", ")[-1]
    assert other in read(PAIRS[pair], COPY, part=other)


def test_the_average_where_it_is_alone():
    # Catches a file of nothing but averaged weights refused.
    assert "took resnet18 from teacher.backbone" in read(
        under("teacher.backbone.", NAMED)
    )
    told = read({"ema": NAMED, "student": weights("resnet34")})
    assert f"student.* ({len(weights('resnet34'))})" in told


def test_a_part():
    # Catches a part that is not looked at, or that is there twice; the file's own root
    # that cannot be named.
    two = {"one": under("a.", NAMED), "two": under("a.", COPY)}
    read(two, part="one")
    read(two, COPY, part="two.a")
    told = refusal(two)
    assert "2 networks are resnet18: one.a, two.a; say which" in told
    assert "victim.weights=FILE#two.a" in told
    assert "2 networks are resnet18" in refusal(two, part="a")
    assert "no network under 'three'; networks in the file: one.a, two.a" in refusal(
        two, part="three"
    )
    inside = NAMED | under("other.", COPY)
    assert "resnet18: ., other;" in refusal(inside)
    read(inside, part=".")
    read(inside, COPY, part="other")
    same_twice = {"model": NAMED, "best": dict(NAMED)}
    assert "instead: best" in read(same_twice)


BAD = {
    "a bias of a convolution": ({"conv1.bias": np.ones(4)}, "unknown conv1.bias (4,)"),
    "a squeeze in a block": (
        {"layer1.0.se.fc1.weight": np.ones((4, 4))},
        "unknown layer1.0.se.fc1.weight (4, 4)",
    ),
    "a deep stem": ({"conv2.weight": np.ones((4, 4, 3, 3))}, "unknown conv2.weight"),
    "a filter of a pool": (
        {"maxpool.filt": np.ones((4, 1, 3, 3))},
        "unknown maxpool.filt",
    ),
    "a layer that normalises": (
        {"normalize.mean": np.ones((1, 3, 1, 1))},
        "unknown normalize.mean (1, 3, 1, 1)",
    ),
    "a scale": ({"scale": np.float32(1)}, "unknown scale ()"),
    "a fifth stage": ({"layer5.0.conv1.weight": np.ones((4, 4, 3, 3))}, "layer5.0"),
    "a block too many": (
        {"layer1.2.bn1.bias": np.ones(4)},
        "unknown layer1.2.bn1.bias",
    ),
    "a leaf twice": ({"module.conv1.weight": NAMED["conv1.weight"]}, "the same leaf"),
    "a leaf in two spellings": (
        {"layer2.0.shortcut.0.weight": np.ones((8, 4, 1, 1))},
        "the same leaf",
    ),
    "another stem beside": (
        {"layer0.0.weight": np.ones((4, 3, 3, 3))},
        "the same leaf",
    ),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("prefix", ["", "module.encoder."])
def test_what_would_change_the_function(what, prefix):
    # Catches a part of the trunk passed over as if it were a head.
    more, expected = BAD[what]
    for name in more:
        assert name.split(".")[-1] in refusal(under(prefix, NAMED | more))
    assert expected.removeprefix("unknown ") in refusal(under(prefix, NAMED | more))


def test_a_damaged_network_is_not_passed_over():
    # Catches the teacher read because a leaf of the student is missing.
    broken = {n: x for n, x in NAMED.items() if n != "layer2.0.bn1.bias"}
    told = refusal({"student": broken, "teacher": COPY})
    assert "missing layer2.0.bn1.bias (8,)" in told
    read({"student": broken, "teacher": COPY}, COPY, part="teacher")
    told = refusal({"a": NAMED, "b": NAMED | {"conv1.bias": np.ones(4)}})
    assert "unknown b.conv1.bias (4,)" in told
    # But what has no running statistics is an optimiser's, and no network.
    some = {n: x for n, x in COPY.items() if "running" not in n}
    read({"model": NAMED, "moments": some})


def test_what_it_is_instead():
    # Catches width 64 named where the width is another, whatever the spelling.
    kw = {"width": 64}
    told = refusal(under("net.", children("014567")), **kw)
    assert "resnet18 with stem 'cifar' and width 4" in told
    broken = {n: x for n, x in NAMED.items() if n != "conv1.weight"}
    told = refusal(under("net.", broken), **kw)
    assert "(here are stages of 2, 2, 2, 2 blocks, of width 4)" in told
    told = refusal({"model": under("module.", weights("resnet34", "imagenet", 8))})
    assert "weights of resnet34 with stem 'imagenet' and width 8" in told
    told = refusal({"blocks.0.attn.qkv.weight": np.ones((9, 3))})
    assert "no weights of resnet18 by any names" in told and "blocks.0.attn" in told
    told = refusal({"layer1.0.conv1\n" * 99: np.ones(3), "x\n" * 999: np.ones(3)})
    assert len(told) < 500
    assert "two arrays are called 'a.b'" in refusal(
        {"a": {"b": np.ones(3)}, "a.b": np.ones(3)}
    )
