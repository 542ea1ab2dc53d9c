"""From a loss of the table to what an attack trains: numbers bound, views averaged."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32
from threadpoolctl import threadpool_limits

from sslx.attacks.attack import Match
from sslx.losses import loss_of
from sslx.registry import traits_of
from sslx.types import refuse_if


def make_match(
    loss: str, numbers: dict[str, Any], answers: Float[np.ndarray, "n v d"]
) -> Match:
    """What an attack trains: a loss of the table for the stored answers.

    The value and the metrics are means over the views, each view a batch of its own;
    a loss of pairs gets both views of all images at once.

    Args:
        loss: Its name.
        numbers: Its block of the config, a value of each keyword; what they mean for
            labels and quantiles, ``sslx.registry.Traits`` says. Labels are left to who
            makes the batches.
        answers: All that the service said.

    Raises:
        UserError: An unknown loss; a pair of views that is none; answers that are
            negative where they must not be; a threshold that is no share.
    """
    function = loss_of(loss)
    traits = traits_of(function)
    refuse_if(
        traits.non_negative and answers.min() < 0,
        f"loss {loss!r} needs answers that are not negative, and some are: ask for "
        "the representation without noise, or take another loss",
    )
    refuse_if(
        traits.paired and answers.shape[1] != 2,
        f"loss {loss!r} compares two views of each image, and {answers.shape[1]} "
        "were asked: ask 2, or take another loss",
    )
    bound = dict(numbers)
    for name in traits.quantiles:
        bound[name] = _quantiles(answers, bound[name], f"{name} of loss {loss!r}")

    def match(student, teacher, labels):
        given = {"labels": labels} if traits.labels else {}
        compare = partial(function, **bound | given)
        if traits.paired:
            return compare(*(x.reshape(-1, x.shape[-1]) for x in (student, teacher)))
        every = jax.vmap(compare, in_axes=1)(student, teacher)
        return jax.tree.map(jnp.mean, every)

    return match


def _quantiles(
    answers: Float[np.ndarray, "n v d"], share: float, what: str
) -> Float[np.ndarray, " d"]:
    refuse_if(
        not 0 <= share < 1,
        f"the {what} is the share of answers below it, in [0, 1), not {share}: "
        "write 0.5 for the median of each feature",
    )
    rows = answers.reshape(-1, answers.shape[-1])
    return np.quantile(rows, share, axis=0).astype(answers.dtype)


def cluster_labels(
    answers: Float[np.ndarray, "n v d"], clusters: int, seed: int
) -> Int32[np.ndarray, " n"]:
    """Classes for a loss that takes labels, where there are none: k-means of answers.

    An image is the mean of its answers, scaled to length 1. The same input gives the
    same labels on one machine.

    Args:
        answers: All that the service said.
        clusters: How many, from 2 to the number of images.
        seed: Of the centres to start from and of the mini-batches.

    Raises:
        UserError: As many clusters cannot be made.

    Source: Sculley 2010, "Web-scale k-means clustering".
    """
    from sklearn.cluster import MiniBatchKMeans  # a second, so only when wanted
    from sklearn.preprocessing import normalize

    refuse_if(
        not 2 <= clusters <= len(answers),
        f"{clusters} clusters of {len(answers)} images cannot be made: the labels "
        "of a loss are 0 (the true ones) or a number from 2 to the images",
    )
    # One thread: with more, sums are taken in an order that changes from run to run.
    with threadpool_limits(1):
        model = MiniBatchKMeans(clusters, batch_size=4096, n_init=3, random_state=seed)
        return model.fit_predict(normalize(answers.mean(axis=1))).astype(np.int32)
