"""The largest numbers of an answer, and 0 for the rest."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.noise import below, unit


def _largest(raw: np.ndarray, k: int) -> np.ndarray:
    """The k largest of each row by amount, of equal ones the first; 0 elsewhere."""
    kept = np.argsort(-np.abs(raw), axis=1, kind="stable")[:, :k]
    out = np.zeros_like(raw)
    np.put_along_axis(out, kept, np.take_along_axis(raw, kept, axis=1), axis=1)
    return out


def top_k(*, k: int) -> Defence:
    """The ``k`` largest numbers by amount. It draws nothing and remembers nothing."""

    def out_dim(dim: int) -> int:
        below("top_k", "k", k, dim)
        return dim

    def apply(state: State, request: Request):
        return _largest(request.raw, k), state, None, {}

    return Defence(lambda dim, key: {}, apply, out_dim)


def top_k_reference() -> Defence:
    """RDA's: of answers of length 1 the five largest numbers, whatever the width is.

    Of 512 numbers the cosine with the clean answer is 0.34; of answers of five numbers
    or fewer nothing is taken. Lengths go, too (exempt from "scaling").

    Source: the code of Wu et al. 2023 (RDA).
    """

    def apply(state: State, request: Request):
        return _largest(unit(request.raw), 5), state, None, {}

    return Defence(lambda dim, key: {}, apply, exempt={"scaling"}, units=False)
