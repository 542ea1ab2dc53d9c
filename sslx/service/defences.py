"""Defences: what a service does to its answers before it gives them away."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax import Array

State = dict[str, np.ndarray]


class Defence(NamedTuple):
    """A pure function on an account's state and the answers it is to be given.

    The service saves the state in the transaction that saves the answers, so a
    defence keeps nothing of its own between two calls.

    Attributes:
        init: ``dim -> state`` of an account that has not asked yet: a dict of numpy
            arrays, empty for a defence that remembers nothing.
        apply: ``(state, images, embeddings, key) -> (state, embeddings)`` for the
            images of one call that are not answered from the store: uint8 (b, h, w, c)
            in 0..255 and float32 (b, dim), as the victim gave them. The embeddings that
            come back have the same shape and are finite. ``key`` differs from call
            to call and account to account, and is the same when a killed call is
            repeated; None where the service was given none.
    """

    init: Callable[[int], State]
    apply: Callable[
        [State, np.ndarray, np.ndarray, Array | None], tuple[State, np.ndarray]
    ]


DEFENCES = {
    "none": Defence(
        init=lambda dim: {},
        apply=lambda state, images, embeddings, key: (state, embeddings),
    ),
}
