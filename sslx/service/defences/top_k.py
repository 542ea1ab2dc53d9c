"""The largest numbers of an answer, and 0 for the rest."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.units import below, unit


def _largest(raw: np.ndarray, k: int, by: np.ndarray) -> np.ndarray:
    """The k of each row that are largest in ``by``, of equal ones the first; else 0."""
    kept = np.argsort(-by, axis=1, kind="stable")[:, :k]
    out = np.zeros_like(raw)
    np.put_along_axis(out, kept, np.take_along_axis(raw, kept, axis=1), axis=1)
    return out


def top_k(*, k: int) -> Defence:
    """The ``k`` largest numbers by amount. It draws nothing and remembers nothing."""

    def out_dim(dim: int) -> int:
        below("top_k", "k", k, dim)
        return dim

    def apply(state: State, request: Request):
        return _largest(request.raw, k, np.abs(request.raw)), state, None, {}

    return Defence(lambda dim, key: {}, apply, out_dim)


def top_k_reference() -> Defence:
    """RDA's: of answers of length 1 the five largest numbers, whatever the width is.

    The largest, not those of the largest amount: of answers with signs no negative
    number is seen. Of 512 numbers the cosine with the clean answer is 0.34; of answers
    of five numbers or fewer nothing is taken. Lengths go, too (exempt from "scaling").

    Source: the code of Wu et al. 2024 (RDA), ``top-k.py``; where an image has one view
    it stops with an error.
    """

    def apply(state: State, request: Request):
        x = unit(request.raw)
        return _largest(x, 5, x), state, None, {}

    return Defence(lambda dim, key: {}, apply, exempt={"scaling"}, units=False)
