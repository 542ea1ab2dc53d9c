import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.models import ENCODERS, make_encoder
from sslx.types import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders.npz"


def torch_weights(state_names, shapes):
    """The weights behind the golden features, drawn in the order of the names."""
    draw = np.random.RandomState(9)
    weights = {}
    for name in state_names:
        if name.endswith("num_batches_tracked"):
            continue
        shape = shapes(name)
        if len(shape) > 1:
            fan_in = np.prod(shape[1:])
            scale = np.float32(np.sqrt(2 / fan_in))
            weights[name] = draw.randn(*shape).astype(np.float32) * scale
        elif name.endswith("running_mean"):
            weights[name] = np.float32(0.1) * draw.randn(*shape).astype(np.float32)
        elif name.endswith("running_var"):
            noise = draw.rand(*shape).astype(np.float32)
            weights[name] = np.float32(1.0) + np.float32(0.1) * noise
        else:
            base = np.float32(1.0 if name.endswith("weight") else 0.0)
            noise = draw.randn(*shape).astype(np.float32)
            weights[name] = base + np.float32(0.1) * noise
    return weights


def our_place(name):
    """Where a PyTorch name stands here: (params or stats, path)."""
    leaf = name.rsplit(".", 1)[1]
    block = re.match(r"layer(\d)\.(\d+)\.(.*)\.", name)
    if block:
        stage, i, module = block.groups()
        top = f"stage{stage}_block{int(i) + 1}"
        modules = {
            "conv1": "conv1",
            "bn1": "norm1",
            "conv2": "conv2",
            "bn2": "norm2",
            "shortcut.0": "shortcut_conv",
            "shortcut.1": "shortcut_norm",
        }
        path = [top, modules[module]]
    else:
        path = [{"conv1": "stem_conv", "bn1": "stem_norm"}[name.rsplit(".", 1)[0]]]
    if leaf.startswith("running_"):
        return "stats", [*path, leaf.removeprefix("running_")]
    if "conv" in path[-1]:
        return "params", [*path, "kernel"]
    return "params", [*path, {"weight": "scale", "bias": "bias"}[leaf]]


def get(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def golden_variables(name, encoder):
    names = [str(n) for n in np.load(GOLDEN)[f"{name}/state_names"]]
    example = jnp.zeros((1, 32, 32, 3))
    params, stats = jax.eval_shape(encoder.init, jax.random.key(0), example)
    ours = {"params": params, "stats": stats}

    def torch_shape(torch_name):
        kind, path = our_place(torch_name)
        shape = get(ours[kind], path).shape
        return shape if len(shape) == 1 else tuple(shape[i] for i in (3, 2, 0, 1))

    weights = torch_weights(names, torch_shape)
    out = {"params": {}, "stats": {}}
    for torch_name, value in weights.items():
        kind, path = our_place(torch_name)
        node = out[kind]
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    assert jax.tree.structure(out) == jax.tree.structure(ours)
    return out["params"], out["stats"]


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_golden_features(name):
    # Catches "SAME" padding at stride 2, a wrong epsilon, a missing projection, blocks
    # in the wrong order, running statistics used where the batch's are wanted.
    golden = np.load(GOLDEN)
    encoder = make_encoder(name)
    params, stats = golden_variables(name, encoder)
    count = sum(x.size for x in jax.tree.leaves(params))
    assert count == golden[f"{name}/parameters"]
    images = jnp.asarray(golden["images_nchw"].transpose(0, 2, 3, 1), jnp.float32)
    for mode in ("eval", "train"):
        got, moved = jax.jit(encoder.apply, static_argnums=3)(
            params, stats, images, mode == "train"
        )
        want = golden[f"{name}/{mode}"]
        assert got.shape == want.shape == (len(images), encoder.dim)
        error = np.abs(got - want).max() / np.abs(want).max()
        assert error < 1e-4, (mode, error)
        same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), moved, stats)
        assert all(jax.tree.leaves(same)) == (mode == "eval")


def test_published_parameter_counts():
    # Catches a trunk with a classifier or a bias too many (study's sheet: 11,168,832).
    for name, want in (("resnet18", 11_168_832), ("resnet34", 21_276_992)):
        params, _ = jax.eval_shape(
            make_encoder(name).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
        )
        assert sum(np.prod(x.shape) for x in jax.tree.leaves(params)) == want


@pytest.mark.parametrize("name", ENCODERS)
def test_meta_rebuilds(name):
    # Catches a keyword that meta forgets: the rebuilt encoder would differ.
    encoder = make_encoder(name, width=8)
    again = make_encoder(encoder.meta["name"], **encoder.meta["kw"])
    assert again.meta == encoder.meta and again.dim == encoder.dim
    example = jnp.zeros((1, 16, 16, 3))
    shapes = [
        jax.eval_shape(e.init, jax.random.key(0), example) for e in (encoder, again)
    ]
    assert shapes[0] == shapes[1]


def test_evaluation_rows_are_independent():
    # Catches batch statistics in evaluation: a row would depend on its neighbours.
    encoder = make_encoder("conv3", width=8)
    images = jax.random.normal(jax.random.key(1), (8, 12, 12, 1))
    params, stats = encoder.init(jax.random.key(0), images)
    whole, _ = encoder.apply(params, stats, images, False)
    alone, _ = encoder.apply(params, stats, images[2:3], False)
    np.testing.assert_allclose(whole[2:3], alone, atol=1e-6)
    trained, _ = encoder.apply(params, stats, images, True)
    assert np.abs(trained - whole).max() > 1e-2


def test_bfloat16_computes_narrow_and_keeps_wide():
    # Catches weights or statistics stored in bfloat16, and a dtype without effect.
    narrow = make_encoder("conv3", width=8, dtype="bfloat16")
    wide = make_encoder("conv3", width=8)
    images = jax.random.normal(jax.random.key(1), (8, 12, 12, 1))
    params, stats = narrow.init(jax.random.key(0), images)
    assert {x.dtype for x in jax.tree.leaves((params, stats))} == {jnp.dtype("float32")}
    a, moved = narrow.apply(params, stats, images, True)
    b, _ = wide.apply(params, stats, images, True)
    assert a.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(moved)} == {jnp.dtype("float32")}
    assert 1e-5 < np.abs(a - b).max() < 0.05 * np.abs(b).max()


def test_messages():
    # Catches a traceback in place of a line that says what to write.
    with pytest.raises(UserError, match="unknown encoder 'resnet19'; known: conv3"):
        make_encoder("resnet19")
    with pytest.raises(UserError, match="'conv3' knows no 'depth'; known: width"):
        make_encoder("conv3", depth=3)
    with pytest.raises(UserError, match="float32 or bfloat16"):
        make_encoder("conv3", dtype="int8")
