"""Every loss with numbers to try, and how to call it in one line."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sslx.losses import LOSSES

KEYWORDS = {
    "barlow": [{"off_diagonal": 0.0051}],
    "barlow_reference": [{"off_diagonal": 0.0051}],
    "bce": [{"threshold": 0.3}],
    "bce_reference": [{}],
    "cosine": [{}],
    "energy": [{}],
    "infonce": [{"temperature": 0.07}, {"temperature": 0.5}],
    "infonce_reference": [{"temperature": 0.07}],
    "mse": [{}],
    "regression": [{}],
    "soft_cross_entropy": [{}],
    "soft_cross_entropy_reference": [{}],
    "softnn": [{"temperature": 100.0}, {"temperature": 10000.0}],
    "supcon": [{"temperature": 0.07}],  # and labels, see `value_and_grad`
    "vicreg": [{"invariance": 25.0, "variance": 25.0, "covariance": 1.0}],
    "wasserstein": [{}],
}
CASES = [(name, kw) for name, blocks in KEYWORDS.items() for kw in blocks]
HISTOGRAMS = {"energy", "wasserstein"}  # of what is not negative
PAIRS = {"barlow_reference", "infonce_reference"}  # rows are pairs of views


def labels(b):
    return jnp.arange(b) % 3


@partial(jax.jit, static_argnums=(0, 1))
def _value_and_grad(name, kw, student, teacher, arrays):
    def loss(student):
        return LOSSES[name](student, teacher, **dict(kw), **arrays)[0]

    return jax.value_and_grad(loss)(student)


def value_and_grad(name, kw, student, teacher, **arrays):
    """Value and student gradient; ``arrays`` are keywords that are arrays."""
    if name == "supcon":
        arrays = {"labels": labels(len(student))} | arrays
    return _value_and_grad(name, tuple(kw.items()), student, teacher, arrays)


def value(name, kw, student, teacher, **arrays):
    return value_and_grad(name, kw, student, teacher, **arrays)[0]


def rows(seed, b=7, d=5):
    draw = np.random.RandomState(seed)
    return draw.randn(b, d), draw.randn(b, d)


def interleaved(first, second):
    """Rows 2i of the first, rows 2i + 1 of the second."""
    return np.array([x for pair in zip(first, second, strict=True) for x in pair])
