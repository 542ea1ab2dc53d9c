"""Clean answers from defended ones, by what a copy of the defence does."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.evals.fidelity import linear_map
from sslx.registry import traits

Rows = Float[np.ndarray, "n _"]
Undo = Callable[[Rows], Rows]
HELD = 5  # every fifth answer says which way of undoing it is the best


@traits(features=True, copy=True, version=2)
def recover(given: Answered, help: Help, *, width: int, ridge: float) -> Answered:
    """What is learnt from a copy of the defence to be behind the answers.

    The attacker puts the defence, whose kind and numbers he knows, and a secret of his
    own before an encoder of his own, and learns to undo it: by a linear map, by a
    network of one hidden layer, or by leaving the answers as they are, whichever is
    nearest to the clean features that it was not fitted to. It is then applied to the
    victim's answers. What both encoders answer is brought to mean 0 and deviation 1 in
    each number; what is found gets back mean and deviation of the answers, these times
    what the copy says that the defence adds to them.

    Source: the idea of BESA (arXiv 2506.04556), for a defence that is known.

    Args:
        given: What was paid for.
        help: With features as wide as the clean answers.
        width: Of the hidden layer.
        ridge: The weight of the network's squared weights.
    """
    clean = help.features().astype(np.float64)
    spoilt = help.defended(clean.astype(np.float32)).astype(np.float64)
    answers = given.answers.reshape(-1, given.answers.shape[-1]).astype(np.float64)
    alike = spoilt.shape[1] == clean.shape[1]
    network = MLPRegressor(
        hidden_layer_sizes=(width,),
        alpha=ridge,
        random_state=int(help.random.integers(2**31)),
        early_stopping=True,
        n_iter_no_change=50,
        max_iter=5000,  # of which it stops far below
    )
    ways: list[Callable[[Rows, Rows], Undo]] = [linear_map, partial(_fitted, network)]
    ways += [lambda x, y: lambda rows: rows] if alike else []
    with threadpool_limits(1):
        undo = _best(ways, _units(spoilt), _units(clean))
        found = undo(_units(answers))
    if alike:
        less = clean.std(axis=0).mean() / max(spoilt.std(axis=0).mean(), 1e-12)
        found = found * less * answers.std(axis=0) + answers.mean(axis=0)
    shape = (*given.answers.shape[:2], -1)
    return given._replace(answers=found.reshape(shape).astype(np.float32))


def _fitted(network: MLPRegressor, x: Rows, y: Rows) -> Undo:
    return network.fit(x, y).predict


def _best(ways: list[Callable[[Rows, Rows], Undo]], x: Rows, y: Rows) -> Undo:
    """The way whose error is the least on rows that were held back, fitted to all."""
    held = np.arange(len(x)) % HELD == 0
    errors = [
        np.square(way(x[~held], y[~held])(x[held]) - y[held]).mean() for way in ways
    ]
    return ways[int(np.argmin(errors))](x, y)


def _units(x: Rows) -> Rows:
    return (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
