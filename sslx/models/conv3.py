"""A small encoder for tests and for the built-in data."""

import flax.linen as nn

from sslx.models.linen import batch_norm, pool


class Conv3(nn.Module):
    """Three 3x3 convolutions, each with batch normalisation and ReLU; mean pooling.

    Channels ``width``, 2 ``width``, 4 ``width``; the second and third have stride 2.
    """

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, h, w, c) to (b, 4 width)."""
        for i in range(3):
            x = nn.Conv(
                self.width * 2**i,
                (3, 3),
                strides=1 if i == 0 else 2,
                padding=1,
                use_bias=False,
                dtype=self.dtype,
                name=f"conv{i + 1}",
            )(x)
            x = batch_norm(self.dtype, name=f"norm{i + 1}")(
                x, use_running_average=not train
            )
            x = nn.relu(x)
        return pool(x)


def conv3(*, width: int = 32, dtype: str = "float32") -> tuple[nn.Module, int]:
    """The module and the width of its features."""
    return Conv3(width, dtype), 4 * width
