"""What sits on an encoder while it trains."""

from collections.abc import Sequence

import flax.linen as nn

from sslx.models.linen import pure


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    widths: Sequence[int]
    dtype: str

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, d) to (b, widths[-1]); ``train`` changes nothing."""
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, dtype=self.dtype, name=f"dense{i + 1}")(x)
            if i + 1 < len(self.widths):
                x = nn.relu(x)
        return x


def make_mlp(widths: Sequence[int], *, dtype: str):
    """``init`` and ``apply`` as ``sslx.models.linen.pure`` returns them.

    SimCLR's projector is ``make_mlp((d, 128))`` on features of width d; a linear map
    is ``make_mlp((d,))``.
    """
    return pure(Mlp(tuple(widths), dtype))
