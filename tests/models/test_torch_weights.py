import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from sslx.models import from_torch, make_encoder, to_torch
from sslx.models.torch_names import expected
from sslx.types import UserError

WIDTH = 4


def weights(name="resnet18", stem="cifar", width=WIDTH, seed=0):
    """Random weights under torchvision's names, without num_batches_tracked."""
    rng = np.random.default_rng(seed)
    leaves = expected(name, stem, width, 3)
    return {
        n: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        for n, leaf in leaves.items()
    }


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name


def refusal(state, name="resnet18", stem="cifar", **kw):
    with pytest.raises(UserError) as error:
        from_torch(name, state, stem=stem, **kw)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name,stem",
    [("resnet18", "cifar"), ("resnet34", "imagenet"), ("resnet50", "cifar")],
)
def test_there_and_back(name, stem):
    # Catches a leaf lost, exchanged or rounded on the way, in both directions; an array
    # that is a view of a jax buffer, which PyTorch may not write to.
    named = weights(name, stem)
    params, stats = from_torch(name, named, stem=stem)
    encoder = make_encoder(name, stem=stem, width=WIDTH)
    trees = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), trees)
    assert jax.eval_shape(lambda: (params, stats)) == like
    back = to_torch(name, params, stats, stem=stem)
    counters = {n for n in back if n.endswith("num_batches_tracked")}
    assert len(counters) == sum(n.endswith("running_mean") for n in named)
    assert all(back[n].shape == () and back[n].dtype == np.int64 for n in counters)
    assert all(x.flags.writeable and x.flags.c_contiguous for x in back.values())
    same({n: back[n] for n in back if n not in counters}, named)
    again = from_torch(name, back, stem=stem)
    assert jax.tree.structure(again) == jax.tree.structure((params, stats))
    for a, b in zip(
        jax.tree.leaves(again), jax.tree.leaves((params, stats)), strict=True
    ):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_names_are_torchvisions():
    # Catches names counted from one, and a norm named as its convolution.
    names = expected("resnet50", "imagenet", 64, 3)
    for name, shape in (
        ("conv1.weight", (64, 3, 7, 7)),
        ("bn1.running_var", (64,)),
        ("layer1.0.downsample.0.weight", (256, 64, 1, 1)),
        ("layer1.0.downsample.1.running_mean", (256,)),
        ("layer3.5.conv2.weight", (256, 256, 3, 3)),
        ("layer4.2.bn3.bias", (2048,)),
    ):
        assert names[name].shape == shape
    assert len(names) == 5 * 53  # 53 convolutions, each with a norm of four


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "encoder.",
        "backbone.",
        "module.encoder.",
        "encoder.module.",
        "encoder_q.",
        "module.encoder_q.",
        "module.base_encoder.",
        "online_network.",
        "student.backbone.",
    ],
)
def test_prefixes_and_what_is_left_out(prefix):
    # Catches a prefix unknown, a momentum copy read for the encoder, a head that stops
    # the reading, and what is left out without a word.
    named = weights()
    state = {f"{prefix}{n}": x for n, x in named.items()}
    state |= {f"{prefix}fc.weight": np.ones((10, 32)), f"{prefix}fc.bias": np.ones(10)}
    state |= {f"module.encoder_k.{n}": x * 2 for n, x in named.items()}
    state |= {f"teacher.backbone.{n}": x * 2 for n, x in named.items()}
    state |= {"momentum_backbone.conv1.weight": np.ones(3)}
    state |= {"projector.0.weight": np.ones((3, 3)), "predictor.0.bias": np.ones(3)}
    state |= {"module.queue": np.ones((3, 3)), "module.queue_ptr": np.zeros(1, int)}
    state |= {f"{prefix}bn1.num_batches_tracked": np.int64(7)}
    for form in (state, {"state_dict": state, "epoch": 3}, {"model": state}):
        lines = []
        params, stats = from_torch("resnet18", form, stem="cifar", told=lines.append)
        back = to_torch("resnet18", params, stats, stem="cifar")
        same({n: back[n] for n in named}, named)
        assert len(lines) == 1 and "\n" not in lines[0]
        for part in (
            f"{prefix}fc.* (2)",
            f"module.encoder_k.* ({len(named)})",
            f"teacher.* ({len(named)})",
            "momentum_backbone.* (1)",
            "projector.* (1)",
            "predictor.* (1)",
            "module.queue (1)",
            "module.queue_ptr (1)",
            "num_batches_tracked (1)",
        ):
            assert part in lines[0]


def test_nothing_left_out_is_not_told():
    # Catches a line about nothing, and both names of the shortcut not being one.
    named = {n.replace("downsample", "shortcut"): x for n, x in weights().items()}
    lines = []
    from_torch("resnet18", named, stem="cifar", told=lines.append)
    assert lines == []


def test_other_networks():
    # Catches a refusal that leaves the user to guess which network the weights are of.
    told = refusal(weights("resnet34"))
    assert "unknown layer1.2.bn1.bias (4,), " in told and " and 77 more; " in told
    assert "weights of resnet34 with stem 'cifar' and width 4" in told
    told = refusal(weights("resnet50", "imagenet", 8))
    assert "weights of resnet50 with stem 'imagenet' and width 8" in told
    told = refusal(weights(stem="imagenet"))
    assert "misshapen conv1.weight (4, 3, 7, 7) for (4, 3, 3, 3);" in told
    assert "weights of resnet18 with stem 'imagenet' and width 4" in told
    told = refusal(weights(), width=8)
    assert "width 8: misshapen" in told and "and width 4" in told
    assert "known: resnet18, resnet34, resnet50" in refusal(weights(), name="conv3")
    assert "unknown stem" in refusal(weights(), stem="tv")


def test_leaves_that_differ():
    # Catches a leaf that is passed over in silence, and one that is not named.
    named = weights()
    some = dict(named)
    del some["layer2.0.downsample.1.running_var"]
    assert "missing layer2.0.downsample.1.running_var (8,);" in refusal(some)
    told = refusal(
        {f"module.{n}": x for n, x in named.items()} | {"scale": np.ones(())}
    )
    assert "unknown scale ();" in told
    told = refusal(
        {f"net.{n}": x for n, x in named.items()} | {"net.bn1.bias": np.ones(1)}
    )
    assert "misshapen net.bn1.bias (1,) for (4,);" in told
    assert "no arrays" in refusal({})
    told = refusal({"layer1.0.conv1.weight": named["layer1.0.conv1.weight"]})
    assert "missing bn1.bias (4,), " in told and "and 96 more; " in told
    told = refusal(named | {"module.bn1.bias": named["bn1.bias"]})
    assert "'bn1.bias' and 'module.bn1.bias'" in told
    told = refusal(named | {"conv1.weight": np.ones((0, 3, 3, 3))})
    assert "width 4: misshapen conv1.weight (0, 3, 3, 3) for (4, 3, 3, 3); " in told


def test_numbers():
    # Catches narrow or wide floats kept as they are, quantised weights taken for
    # numbers, and weights that can only give NaN.
    named = weights()
    exact = {n: np.round(x * 4) / 4 for n, x in named.items()}  # exact in all of them
    for dtype in (ml_dtypes.bfloat16, np.float16, np.float64):
        state = {n: x.astype(dtype) for n, x in exact.items()}
        params, stats = from_torch("resnet18", state, stem="cifar")
        back = to_torch("resnet18", params, stats, stem="cifar")
        same({n: back[n] for n in named}, {n: np.float32(x) for n, x in exact.items()})
    whole = np.ones(named["bn1.bias"].shape, np.int8)
    told = refusal(named | {"bn1.bias": whole})
    assert "bn1.bias holds int8, not floating-point" in told
    for bad in (np.nan, np.inf, 1e300):
        state = named | {"bn1.bias": np.full(WIDTH, bad, np.float64)}
        assert "bn1.bias holds NaN or infinite" in refusal(state)
    state = named | {"bn1.running_var": -np.ones(WIDTH, np.float32)}
    assert "bn1.running_var holds variances below 0" in refusal(state)


def test_width_and_channels_follow_the_weights():
    # Catches a greyscale victim refused.
    named = weights()
    grey = named | {"conv1.weight": named["conv1.weight"][:, :1]}
    params, _ = from_torch("resnet18", grey, stem="cifar")
    assert params["stem_conv"]["kernel"].shape == (3, 3, 1, WIDTH)


def test_to_torch_refuses_other_trees():
    # Catches weights written under the names of a network they are not of.
    params, stats = from_torch("resnet34", weights("resnet34"), stem="cifar")
    with pytest.raises(UserError, match="unknown layer1.2.bn1.*of resnet34"):
        to_torch("resnet18", params, stats, stem="cifar")
    with pytest.raises(UserError, match="missing bn1.running_mean .4,., "):
        to_torch("resnet34", params, {}, stem="cifar")
    with pytest.raises(UserError, match="misshapen conv1.weight"):
        to_torch("resnet34", params, stats, stem="imagenet")
