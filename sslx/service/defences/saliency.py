"""Saliency: the victim is shown each image with what its answer hangs on blurred."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from sslx.service.defences.defence import Defence, Gradient
from sslx.types import refuse_if

# Where the kernel ends, in deviations: 11 pixels to each side of one of 5.
REACH = 2.2
LEAST = 0.26  # pixels; below, neighbours weigh too little to change a grey value


def saliency(*, blur: float) -> Defence:
    """Pixels whose gradient is above the image's mean are replaced by blurred ones.

    The gradient is that of the answer's norm, its absolute values summed over the
    channels, and compared with their mean over this image alone: what an image is
    answered does not depend on its company. (A min-max scaling before it, as released,
    moves values and mean alike and changes no pixel.) Whoever sends images that are
    blurred already gets the victim's answers to them.

    Args:
        blur: Standard deviation of the Gaussian, as a share of the image's shorter
            side, 1 at most. It changes nothing below ``LEAST`` pixels.

    Raises:
        UserError: The blur is wider than the image, or, at images that it leaves as
            they are, too narrow.
    """
    where = "service.defence_kw.saliency.blur"
    refuse_if(
        blur > 1,
        f"{where} is a share of an image's side, 1 at most, not {blur}",
    )
    refuse_if(
        not blur >= 1e-4,
        f"{where} is {blur}, which changes no image of fewer than {LEAST / 1e-4:.0f} "
        "pixels; write a share of an image's side, as 0.1",
    )

    def before(state, images: np.ndarray, gradient: Gradient) -> np.ndarray:
        side = min(images.shape[1:3])
        refuse_if(
            blur * side < LEAST,
            f"{where} is {blur}, {blur * side:.2g} pixels of images of {side}, which "
            f"changes none; write {LEAST / side:.2g} or more",
        )
        value = salience(gradient, images)
        above = value >= value.mean(axis=(1, 2), keepdims=True)
        return mixed(images, above, blur * side)

    return _of(before)


def saliency_reference() -> Defence:
    """The same as released: its kernel in pixels, and the mean of all that is sent.

    The published kernel (23 pixels, deviation 5) is that of images of 224 pixels, and
    wipes out more of smaller ones. Values are compared with the mean over all new
    images of a call, so that an answer depends on its company: exempt from cutting, and
    from order, as in other calls an image has other company. Left out is a filter of
    the release that distorts every image before the victim sees it: it has nothing to
    do with saliency.
    """

    def before(state, images: np.ndarray, gradient: Gradient) -> np.ndarray:
        value = salience(gradient, images)
        return mixed(images, value >= value.mean(), 5.0)

    return _of(before)._replace(exempt=frozenset({"cutting", "order"}))


def salience(gradient: Gradient, images: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """float64 (n, h, w): how much the norm of the answer changes with each pixel.

    Up to a factor for each image: that of the squared norm is given, which has a
    gradient where the norm is 0, too.
    """
    found = np.asarray(gradient(_squared, images), np.float64)
    refuse_if(
        found.shape != images.shape or not np.isfinite(found).all(),
        f"the victim's gradient has shape {found.shape} for images of {images.shape}, "
        "or numbers that are not finite; nothing was counted",
    )
    return np.abs(found).sum(axis=3)


def mixed(
    images: UInt8[np.ndarray, "n h w c"], above: np.ndarray, deviation: float
) -> UInt8[np.ndarray, "n h w c"]:
    """The images, blurred where ``above`` (n, h, w) says so; edges are mirrored.

    Args:
        images: As they were sent.
        above: Which pixels.
        deviation: Of the Gaussian, in pixels.
    """
    blurred = gaussian_filter(
        images.astype(np.float64), deviation, mode="mirror", truncate=REACH, axes=(1, 2)
    )
    return np.where(above[..., None], np.round(blurred), images).astype(np.uint8)


def _squared(answer: Any) -> Any:  # JAX's arrays: a service needs no JAX itself
    return (answer * answer).sum()


def _of(before) -> Defence:
    return Defence(
        init=lambda dim, key: {},
        apply=lambda state, request: (request.raw, state, None, {}),
        before=before,
        wants=frozenset({"gradient"}),
    )
