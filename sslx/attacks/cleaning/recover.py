"""Clean answers from defended ones, by what a copy of the defence does."""

import numpy as np
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.registry import traits


@traits(features=True)
def recover(given: Answered, help: Help, *, width: int, ridge: float) -> Answered:
    """What a network that was shown a copy of the defence takes the answers for.

    The attacker puts the defence, whose kind and numbers he knows, and a secret of his
    own before an encoder of his own; a network of one hidden layer learns to undo it,
    and is then applied to the victim's answers. What both encoders answer is brought to
    mean 0 and deviation 1 in each number.

    Source: the idea of BESA (arXiv 2506.04556), for a defence that is known.

    Args:
        given: What was paid for.
        help: With features as wide as the clean answers.
        width: Of the hidden layer.
        ridge: The weight of the squared weights.
    """
    clean = help.features().astype(np.float64)
    spoilt = help.defended(clean.astype(np.float32)).astype(np.float64)
    network = MLPRegressor(
        hidden_layer_sizes=(width,),
        alpha=ridge,
        random_state=int(help.random.integers(2**31)),
        early_stopping=True,
        max_iter=5000,  # of which it stops far below
    )
    answers = given.answers.reshape(-1, given.answers.shape[-1]).astype(np.float64)
    center, scale = answers.mean(axis=0), np.maximum(answers.std(axis=0), 1e-12)
    with threadpool_limits(1):
        network.fit(_units(spoilt), _units(clean))
        found = network.predict((answers - center) / scale)
    # In the victim's units again, where there are as many numbers.
    if found.shape[1] == answers.shape[1]:
        found = found * scale + center
    shape = (*given.answers.shape[:2], -1)
    return given._replace(answers=found.reshape(shape).astype(np.float32))


def _units(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
