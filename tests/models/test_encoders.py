from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from sslx.models import ENCODERS, from_torch, make_encoder, resnet, to_torch
from sslx.models.linen import pure
from sslx.types import UserError

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = {
    "cifar": FOLDER / "encoders.npz",
    "imagenet": FOLDER / "encoders_imagenet.npz",
}


def torch_weights(state_names, shapes):
    """The weights behind the golden features, drawn in the order of the names."""
    draw = np.random.RandomState(9)
    weights = {}
    for name in state_names:
        if name.endswith("num_batches_tracked"):
            continue
        shape = shapes[name.replace("shortcut", "downsample")]
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


def zeros(encoder):
    """Trees of the encoder's shapes, for nothing."""
    trees = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return jax.tree.map(lambda x: np.zeros(x.shape, np.float32), trees)


@pytest.mark.parametrize(
    "name,stem",
    [
        ("resnet18", "cifar"),
        ("resnet34", "cifar"),
        ("resnet50", "cifar"),
        ("resnet18", "imagenet"),
        ("resnet50", "imagenet"),
    ],
)
def test_golden_features(name, stem):
    # Catches "SAME" padding at stride 2 or in the max-pool, a bottleneck's stride on
    # its first 1x1, a wrong epsilon, a missing projection, blocks in the wrong order,
    # kernels with their axes exchanged, running statistics in place of the batch's.
    golden = np.load(GOLDEN[stem])
    encoder = make_encoder(name, stem=stem)
    named = to_torch(name, *zeros(encoder), stem=stem)
    names = [str(n) for n in golden[f"{name}/state_names"]]
    weights = torch_weights(names, {n: x.shape for n, x in named.items()})
    params, stats = from_torch(name, weights, stem=stem)
    count = sum(x.size for x in jax.tree.leaves(params))
    assert count == golden[f"{name}/parameters"]
    images = jnp.asarray(golden["images_nchw"].transpose(0, 2, 3, 1), jnp.float32)
    for mode in ("eval", "train") if stem == "cifar" else ("eval",):
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


@pytest.mark.parametrize(
    "name,kw",
    [(name, {}) for name in ENCODERS]
    + [("resnet50", {"stem": "imagenet", "zero_init": True, "init": "torch"})],
)
def test_meta_rebuilds(name, kw):
    # Catches a keyword that meta forgets: the rebuilt encoder would differ.
    encoder = make_encoder(name, width=8, **kw)
    assert encoder.meta["kw"].items() >= kw.items()
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


def test_defaults_are_those_of_the_config():
    # Catches a number with two homes: a run's recipe against an encoder built by hand.
    blocks = default.get_config().victim.encoder_kw
    assert set(blocks) == set(ENCODERS)
    for name in ENCODERS:
        kw = dict(make_encoder(name).meta["kw"])
        assert kw.pop("dtype") == "float32"
        assert blocks[name].to_dict() == kw


def starting_weights(bottleneck, **kw):
    """Of a network of two blocks (drawing those of a whole one takes long)."""
    module, _ = resnet.resnet((1, 1), bottleneck, width=16, **kw)
    params, _ = pure(module)[0](jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return params


def test_zero_init():
    # Catches a zero on the first scale (the block then never learns), on the shortcut's
    # or on the stem's, and a keyword without effect.
    for bottleneck, last in ((False, "norm2"), (True, "norm3")):
        params = starting_weights(bottleneck, zero_init=True)
        flat = jax.tree_util.tree_flatten_with_path(params)[0]
        for path, leaf in flat:
            *_, module, name = (key.key for key in path)
            if name == "scale":
                assert np.all(leaf == (0.0 if module == last else 1.0)), path


def test_starts():
    # Catches the fan of the wrong side, a gain of sqrt(2) for PyTorch's 1/sqrt(3), and
    # normal for uniform: the bound is 1 / sqrt(fan_in), the deviation 1/sqrt(3) of it.
    for init in ("he", "torch"):
        block = starting_weights(False, init=init)["stage2_block1"]
        for conv, fan_in in (("conv1", 9 * 16), ("conv2", 9 * 32)):
            kernel = np.asarray(block[conv]["kernel"]) * np.sqrt(fan_in)
            if init == "he":
                assert abs(kernel.std() - np.sqrt(2)) < 0.05 and kernel.max() > 2
            else:
                assert 0.99 < np.abs(kernel).max() <= 1.0001
                assert abs(kernel.std() - np.sqrt(1 / 3)) < 0.02


def test_messages():
    # Catches a traceback in place of a line that says what to write.
    with pytest.raises(UserError, match="unknown encoder 'resnet19'; known: conv3"):
        make_encoder("resnet19")
    with pytest.raises(UserError, match="'conv3' knows no 'depth'; known: width"):
        make_encoder("conv3", depth=3)
    with pytest.raises(UserError, match="unknown stem 'tv'; known: cifar, imagenet"):
        make_encoder("resnet18", stem="tv")
    with pytest.raises(UserError, match="unknown initialisation 'x'; known: he, torch"):
        make_encoder("resnet50", init="x")
    with pytest.raises(UserError, match="float32 or bfloat16"):
        make_encoder("conv3", dtype="int8")
