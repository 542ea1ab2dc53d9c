"""Residual networks with the CIFAR stem (He et al. 2016; 3x3 stem, no max-pool)."""

from collections.abc import Sequence

import flax.linen as nn

from sslx.models.linen import batch_norm, pool


def _conv(width: int, size: int, stride: int, dtype: str, name: str) -> nn.Conv:
    # Padding written out: "SAME" pads a stride of 2 on the far side only.
    return nn.Conv(
        width,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        dtype=dtype,
        kernel_init=nn.initializers.he_normal(),
        name=name,
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    width: int
    stride: int
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, h, w, c) to (b, h / stride, w / stride, width)."""

        def norm(y, name):
            return batch_norm(self.dtype, name=name)(y, use_running_average=not train)

        y = _conv(self.width, 3, self.stride, self.dtype, "conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = norm(_conv(self.width, 3, 1, self.dtype, "conv2")(y), "norm2")
        if x.shape != y.shape:
            x = _conv(self.width, 1, self.stride, self.dtype, "shortcut_conv")(x)
            x = norm(x, "shortcut_norm")
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stages of basic blocks with widths 1, 2, 4, 8 times ``width``; mean pooling."""

    blocks: Sequence[int]
    width: int
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, h, w, c) to non-negative features (b, 8 width)."""
        x = _conv(self.width, 3, 1, self.dtype, "stem_conv")(x)
        x = batch_norm(self.dtype, name="stem_norm")(x, use_running_average=not train)
        x = nn.relu(x)
        for stage, count in enumerate(self.blocks):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                width = self.width * 2**stage
                name = f"stage{stage + 1}_block{i + 1}"
                x = BasicBlock(width, stride, self.dtype, name=name)(x, train)
        return pool(x)


def resnet18(*, width: int = 64, dtype: str = "float32") -> tuple[nn.Module, int]:
    """ResNet-18 and the width of its features."""
    return ResNet((2, 2, 2, 2), width, dtype), 8 * width


def resnet34(*, width: int = 64, dtype: str = "float32") -> tuple[nn.Module, int]:
    """ResNet-34 and the width of its features."""
    return ResNet((3, 4, 6, 3), width, dtype), 8 * width
