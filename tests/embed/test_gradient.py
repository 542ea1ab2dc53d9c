"""Gradients of encoders that run here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.embed import forward
from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.service import DEFENCES

CONV3 = {"name": "conv3", "kw": {"width": 4, "dtype": "float32"}}
HOW = {"image_shape": (8, 8, 3), "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
HEAD = {"widths": [8], "dtype": "float32"}


def squared(answer):
    return jnp.sum(answer**2)


def made(head):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    encoder = make_encoder(CONV3["name"], **CONV3["kw"])
    how = {k: HOW[k] for k in ("mean", "std")}
    variables = forward.untrained(encoder, jax.random.key(0), images, **how)
    if head:
        start, _ = make_mlp(**head)
        params, stats = start(jax.random.key(1), jnp.zeros((1, encoder.dim)))
        variables["head"] = {"params": params, "stats": stats}
    make = (forward.embedder, forward.gradienter)
    return images, *(f(CONV3, variables, head=head, **HOW) for f in make)


@pytest.mark.parametrize("head", [None, HEAD])
def test_gradients_are_those_of_what_is_answered(head):
    # Gradients of another output, of the batch's mean, or of normalised pixels.
    images, embed, gradient = made(head)
    slope = gradient(squared, images)
    assert slope.shape == images.shape and slope.dtype == np.float32
    step = np.zeros_like(images)
    random = np.random.default_rng(1)
    # Along a line of whole grey values: the squared norm is nearly straight there.
    step[:] = random.integers(0, 2, images.shape)
    images = images.clip(1, 254)
    up, down = (
        np.square(embed(x).astype(float)).sum(1) for x in (images + step, images - step)
    )
    along = (gradient(squared, images) * step).sum((1, 2, 3))
    np.testing.assert_allclose(along, (up - down) / 2, rtol=0.05, atol=0.02 * up.max())


@pytest.mark.parametrize("company", [1, 3, 5])
def test_a_gradient_does_not_depend_on_its_company(company):
    # An image's mask that changes with the images beside it.
    images, _, gradient = made(None)
    whole = gradient(squared, images)
    part = gradient(squared, images[:company])
    np.testing.assert_allclose(part, whole[:company], rtol=1e-4, atol=1e-7)
    shown = DEFENCES["saliency"](blur=0.2).before({}, images, gradient)
    alone = DEFENCES["saliency"](blur=0.2).before({}, images[:company], gradient)
    np.testing.assert_array_equal(alone, shown[:company])
