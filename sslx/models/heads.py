"""What sits on an encoder while it trains."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from sslx.models.linen import batch_norm, pure
from sslx.registry import pick

# Which layers BatchNorm follows: (hidden ones, the last one).
NORMS = {"none": (False, False), "hidden": (True, False), "all": (True, True)}


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    widths: Sequence[int]
    dtype: str
    norm: str
    bias: bool

    @nn.compact
    def __call__(self, x, train: bool):
        """Maps (b, d) to (b, widths[-1]); ``train``: by the batch's statistics."""
        hidden, end = NORMS[self.norm]
        for i, width in enumerate(self.widths, start=1):
            last = i == len(self.widths)
            normed = end if last else hidden
            # Before BatchNorm a bias changes nothing.
            bias = not normed and (self.bias or not last)
            x = nn.Dense(width, use_bias=bias, dtype=self.dtype, name=f"dense{i}")(x)
            if normed:
                norm = batch_norm(self.dtype, name=f"norm{i}", affine=not last)
                x = norm(x, use_running_average=not train)
            if not last:
                x = nn.relu(x)
        return x


def make_mlp(
    widths: Sequence[int], *, dtype: str, norm: str = "none", bias: bool = True
):
    """``init`` and ``apply`` as ``sslx.models.linen.pure`` returns them.

    SimCLR's projector is ``make_mlp((d, 128))`` on features of width d; a linear map
    is ``make_mlp((d,))``. Batch statistics are those of the whole batch.

    Args:
        widths: Of the layers' outputs.
        dtype: In which it computes.
        norm: "none", "hidden" (BatchNorm after each hidden layer) or "all" (after the
            last one too, there without scale and shift).
        bias: Whether the last layer has one (where BatchNorm does not follow it).
    """
    pick(NORMS, norm, "norm of a head")
    return pure(Mlp(tuple(widths), dtype, norm, bias))


def linear_widths(params: dict[str, Any]) -> list[int]:
    """The ``widths`` of a head without BatchNorm, from its parameters.

    Raises:
        KeyError: It holds anything but the linear layers of such a head.
    """
    names = [f"dense{i + 1}" for i in range(len(params))]
    return [params[name]["kernel"].shape[-1] for name in names]
