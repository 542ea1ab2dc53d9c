"""A random projection to fewer numbers, another one for each account."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.numbers import check_whole, narrower


def project(*, d: int) -> Defence:
    """Answers are y P; P is D x d, normal with variance 1/d, by the account's key.

    Lengths and distances are kept in expectation, with a deviation of about
    sqrt(1/(2d)) of them (Johnson and Lindenstrauss 1984), so that an honest user loses
    little. The state is the account's key, 32 bytes: P follows from it in every call
    and is not written, as its D d numbers would be, in each. Who reads the ledger has
    the key, and so P, but not the secret. Two accounts that ask the same D images and
    more have a linear map from one's answers to the other's.

    Args:
        d: Numbers of an answer; below the width of what it is made of.

    Raises:
        UserError: d is no whole number above 0; from ``out_dim``, not below the width.
    """
    check_whole("project", "d", d)

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key}

    def apply(state: State, request: Request):
        matrix = normal_by(state["key"].tobytes(), request.raw.shape[1], d) / np.sqrt(d)
        return each_by_itself(request.raw, matrix), state, None, {}

    return Defence(
        init,
        apply,
        out_dim=lambda dim: narrower("project", "d", d, dim),
        wants={"secret"},
        units=False,
    )


@lru_cache(maxsize=8)
def normal_by(key: bytes, rows: int, columns: int) -> Float64[np.ndarray, "r c"]:
    """A matrix of standard normal numbers, by a key of 32 bytes."""
    random = np.random.default_rng(np.frombuffer(key, np.uint32))
    return random.normal(size=(rows, columns))


def each_by_itself(rows: np.ndarray, matrix: np.ndarray) -> Float64[np.ndarray, "n c"]:
    """A product whose last bits do not depend on how many rows there are."""
    return (rows[:, None] @ matrix)[:, 0]
