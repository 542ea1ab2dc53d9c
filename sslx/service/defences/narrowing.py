"""Answers of fewer numbers."""

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.kept import kept
from sslx.service.defences.units import below


def truncate(*, width: int) -> Defence:
    """The first ``width`` numbers of each answer, the same for all accounts."""

    def out_dim(dim: int) -> int:
        below("truncate", "width", width, dim)
        return width

    def apply(state: State, request: Request):
        return request.raw[:, :width], state, None, {}

    return Defence(lambda dim, key: {}, apply, out_dim, units=False)


def project(*, width: int) -> Defence:
    """A random linear map to ``width`` numbers, another one for each account.

    The map is drawn from the account's key, which is all that the state holds. Lengths
    and angles are kept in the mean (Johnson and Lindenstrauss 1984); two accounts that
    compare ``width`` answers to the same images know the map between theirs.
    """

    def out_dim(dim: int) -> int:
        below("project", "width", width, dim)
        return width

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key}

    def apply(state: State, request: Request):
        matrix = _matrix(state["key"].tobytes(), request.raw.shape[1], width)
        # Row by row: a product of many rows is summed in another order.
        answers = np.stack([row.astype(np.float64) @ matrix for row in request.raw])
        return answers, state, None, {}

    return Defence(init, apply, out_dim, wants={"secret"}, units=False)


@kept
def _matrix(key: bytes, dim: int, width: int) -> np.ndarray:
    random = np.random.default_rng(np.frombuffer(key, np.uint32))
    return random.standard_normal((dim, width)) / np.sqrt(width)
