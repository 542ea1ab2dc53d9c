"""Residual networks (He et al. 2016), for 32-pixel and for ImageNet-sized images.

The module names are those of ``sslx.models.torch_names``, which reads and writes
PyTorch's weights of the same networks.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn

from sslx.models.linen import batch_norm, pool
from sslx.registry import pick


class Stem(NamedTuple):
    """The first convolution, and whether a 3x3 max-pool of stride 2 follows."""

    size: int
    stride: int
    max_pool: bool


STEMS = {"cifar": Stem(3, 1, False), "imagenet": Stem(7, 2, True)}

# How convolutions start. "he": normal of variance 2 / fan_in, cut at two deviations.
# "torch": what PyTorch's nn.Conv2d does when it is built and nothing else is said,
# kaiming_uniform_(a=sqrt(5)), which is uniform within 1 / sqrt(fan_in). torchvision's
# ResNets draw anew after that, He's normal with fan_out: that one is neither.
INITS = {
    "he": nn.initializers.he_normal(),
    "torch": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}


def _conv(width: int, size: int, stride: int, init: str, dtype: str, name: str):
    # Padding written out: "SAME" pads a stride of 2 on the far side only.
    return nn.Conv(
        width,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        dtype=dtype,
        kernel_init=INITS[init],
        name=name,
    )


class Block(nn.Module):
    """Convolutions with batch normalisation, and a shortcut around them.

    The shortcut is projected where the shape changes. Of a basic block both
    convolutions are 3x3 and the first has the stride; of a bottleneck the stride is on
    the 3x3 in the middle (ResNet v1.5, as torchvision; He et al. had it on the first).

    Attributes:
        width: Channels of the 3x3 convolutions.
        stride: 1 or 2.
        bottleneck: 1x1, 3x3, 1x1 (to four times ``width``) in place of 3x3, 3x3.
        zero_init: Whether the last scale starts at zero, the block at its shortcut.
        kernel_init: One of ``INITS`` (``init`` is a name of linen's).
        dtype: Type of the computation.
    """

    width: int
    stride: int
    bottleneck: bool
    zero_init: bool
    kernel_init: str
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, h, w, c) to (b, h / stride, w / stride, width or 4 width)."""

        def conv(y, width, size, stride, name):
            return _conv(width, size, stride, self.kernel_init, self.dtype, name)(y)

        def norm(y, name, zero=False):
            layer = batch_norm(self.dtype, name=name, zero=zero)
            return layer(y, use_running_average=not train)

        if self.bottleneck:
            out = 4 * self.width
            plan = [(self.width, 1, 1), (self.width, 3, self.stride), (out, 1, 1)]
        else:
            out = self.width
            plan = [(self.width, 3, self.stride), (self.width, 3, 1)]
        y = x
        for i, (width, size, stride) in enumerate(plan, start=1):
            last = i == len(plan)
            y = conv(y, width, size, stride, f"conv{i}")
            y = norm(y, f"norm{i}", zero=last and self.zero_init)
            y = y if last else nn.relu(y)
        if self.stride > 1 or x.shape[-1] != out:
            x = conv(x, out, 1, self.stride, "shortcut_conv")
            x = norm(x, "shortcut_norm")
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A stem and four stages of widths 1, 2, 4, 8 times ``width``; mean pooling."""

    blocks: Sequence[int]
    bottleneck: bool
    stem: str
    width: int
    zero_init: bool
    kernel_init: str
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, h, w, c) to non-negative features (b, 8 width or 32 width)."""
        stem, init = STEMS[self.stem], self.kernel_init
        x = _conv(self.width, stem.size, stem.stride, init, self.dtype, "stem_conv")(x)
        x = batch_norm(self.dtype, name="stem_norm")(x, use_running_average=not train)
        x = nn.relu(x)
        if stem.max_pool:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks):
            for i in range(count):
                x = Block(
                    width=self.width * 2**stage,
                    stride=2 if stage > 0 and i == 0 else 1,
                    bottleneck=self.bottleneck,
                    zero_init=self.zero_init,
                    kernel_init=init,
                    dtype=self.dtype,
                    name=f"stage{stage + 1}_block{i + 1}",
                )(x, train)
        return pool(x)


def resnet(
    blocks: Sequence[int],
    bottleneck: bool,
    *,
    stem: str = "cifar",
    width: int = 64,
    zero_init: bool = False,
    init: str = "he",
    dtype: str = "float32",
) -> tuple[nn.Module, int]:
    """A residual network and the width of its features, 8 or (bottleneck) 32 ``width``.

    Args:
        blocks: How many in each stage.
        bottleneck: Their kind, see ``Block``.
        stem: One of ``STEMS``: "cifar" (3x3, no max-pool) or "imagenet" (7x7 of stride
            2, max-pool).
        width: Channels of the stem; all others are multiples of it.
        zero_init: Whether the last scale of each block starts at zero (Goyal et al.
            2017).
        init: One of ``INITS``.
        dtype: Type of the computation.

    Raises:
        UserError: Unknown stem or initialisation.
    """
    pick(STEMS, stem, "stem")
    pick(INITS, init, "initialisation")
    module = ResNet(blocks, bottleneck, stem, width, zero_init, init, dtype)
    return module, (32 if bottleneck else 8) * width


resnet18 = partial(resnet, (2, 2, 2, 2), False)
resnet34 = partial(resnet, (3, 4, 6, 3), False)
resnet50 = partial(resnet, (3, 4, 6, 3), True)
