"""The largest numbers of an answer, and 0 for all others."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.numbers import check_whole, narrower


def top_k(*, k: int) -> Defence:
    """Keeps the k numbers of an answer that are farthest from 0, with their signs.

    Of two as far the one of the lower index is kept. k of 512 numbers and k of 2,048
    are not the same strength.

    Args:
        k: How many; below the width of the answers.

    Raises:
        UserError: k is no whole number above 0; from ``out_dim``, not below the width.
    """
    check_whole("top_k", "k", k)

    def apply(state: State, request: Request):
        kept = np.argsort(-np.abs(request.raw), axis=1, kind="stable")[:, :k]
        answers = np.zeros_like(request.raw)
        np.put_along_axis(
            answers, kept, np.take_along_axis(request.raw, kept, axis=1), axis=1
        )
        return answers, state, None, {}

    def out_dim(dim: int) -> int:
        narrower("top_k", "k", k, dim)
        return dim

    return Defence(lambda dim, key: {}, apply, out_dim)
