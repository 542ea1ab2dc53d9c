"""Deterministic image operations: one image and drawn numbers in, one image out.

Nothing here is random; ``augment`` draws the numbers. Every operation takes one float
image (h, w, c), c = 1 or 3, values in [0, 1], float32 or float64, returns its dtype,
and is meant to run under ``vmap`` and ``jit``. Drawn numbers may be traced; sizes and
tap counts are static.

The definitions are torchvision's, on real values: where PIL rounds to 8 bits after
every operation, nothing is rounded here.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

Image = Float[Array, "h w c"]
Number = Float[ArrayLike, ""]
Pixels = Int[ArrayLike, ""]
Switch = Bool[ArrayLike, ""]

# The sub-operations of colour jitter, in the order in which their numbers are kept.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def crop_resize(
    image: Image,
    top: Pixels,
    left: Pixels,
    height: Pixels,
    width: Pixels,
    out_size: tuple[int, int],
) -> Float[Array, "oh ow c"]:
    """Cuts a box out and resizes it: bilinear, antialiased as PIL does it.

    Args:
        image: One image.
        top: First row of the box, pixels.
        left: First column of the box, pixels.
        height: Rows of the box, at least 1; the box lies inside the image.
        width: Columns of the box, at least 1.
        out_size: Rows and columns of the result.
    """
    h, w, _ = image.shape
    rows = _resize_matrix(h, top, height, out_size[0], image.dtype)
    columns = _resize_matrix(w, left, width, out_size[1], image.dtype)
    return _by_axes(image, rows, columns)


def _resize_matrix(
    size: int, start: Pixels, length: Pixels, out: int, dtype: jnp.dtype
) -> Float[Array, "out size"]:
    """Weights by which ``out`` pixels are made of ``size`` along one axis.

    A triangle around each output pixel's centre, one input pixel wide to either side
    or, when shrinking, one output pixel; pixels outside the box do not count, and the
    weights of an output pixel sum to 1.
    """
    length = jnp.asarray(length, dtype)
    scale = length / out
    # Places are counted from the box, where float32 is finest.
    centres = (jnp.arange(out, dtype=dtype)[:, None] + 0.5) * scale
    places = (jnp.arange(size) - start).astype(dtype)[None, :] + 0.5
    distance = jnp.abs(places - centres)
    weights = jnp.maximum(0.0, 1.0 - distance / jnp.maximum(scale, 1.0))
    weights = jnp.where((places > 0) & (places < length), weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def flip(image: Image, do: Switch) -> Image:
    """Mirrors left and right where ``do`` holds."""
    return jnp.where(do, image[:, ::-1], image)


def blend(image: Image, op: Int[ArrayLike, ""], factor: Number) -> Image:
    """Brightness, contrast or saturation, by ``op``.

    The image is moved away from black, its mean grey or each pixel's own grey by
    ``factor`` >= 0 and clipped to [0, 1].
    The three differ only in what the image is blended with, so that ``op`` may be
    traced at hardly any cost. A factor of 1 is the identity, bit for bit.
    """
    grey = _grey(image)
    other = jnp.where(op == SATURATION, grey, grey.mean())
    other = jnp.where(op == BRIGHTNESS, 0.0, other)
    factor = jnp.asarray(factor, image.dtype)
    return jnp.clip(factor * image + (1.0 - factor) * other, 0.0, 1.0)


def _grey(image: Image) -> Float[Array, "h w 1"]:
    """Luma by ITU-R 601, with torchvision's figures (they sum to 0.9999)."""
    if image.shape[-1] == 1:
        return image
    red, green, blue = jnp.split(image, 3, axis=-1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def hue(image: Image, shift: Number) -> Image:
    """Turns the hue by ``shift`` turns, in [-0.5, 0.5]; value and saturation stay.

    RGB to HSV and back, in which only the chroma (value times saturation) is needed,
    so that nothing is divided by the value.
    """
    if image.shape[-1] == 1:
        return image
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # A grey pixel has no hue; any number does, for it is multiplied by chroma 0.
    safe = jnp.where(chroma > 0, chroma, 1.0)
    sextant = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(
            value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0
        ),
    )
    sextant = sextant + 6.0 * jnp.asarray(shift, image.dtype)
    # Each channel is the value less a trapezium of the hue, a third of a turn apart.
    phase = sextant[..., None] + jnp.array([[[5.0, 3.0, 1.0]]], image.dtype)
    phase = phase - 6.0 * jnp.floor(phase / 6.0)
    trapezium = jnp.clip(jnp.minimum(phase, 4.0 - phase), 0.0, 1.0)
    return value[..., None] - chroma[..., None] * trapezium


def jitter(
    image: Image,
    strengths: Float[Array, "4"],
    order: Int[Array, "4"],
    active: Sequence[int] = (BRIGHTNESS, CONTRAST, SATURATION, HUE),
) -> Image:
    """Colour jitter: brightness, contrast, saturation and hue in a given order.

    Under ``vmap`` each image has its own order, and a switch would compute all
    branches for each. Hue is dear and the blends share one form, so the blends are
    gone through twice, before hue and after it, each with a factor of 1 on the side on
    which it does not belong: six blends and one hue instead of four times all four.

    Args:
        image: One image.
        strengths: The three factors and the hue shift in turns.
        order: The sub-operations, first to last.
        active: Those not left out; static.
    """
    if image.shape[-1] == 1:
        active = [op for op in active if op in (BRIGHTNESS, CONTRAST)]
    blends = jnp.array([op for op in active if op != HUE], jnp.int32)
    rank = jnp.argsort(order)  # the place of each sub-operation
    blends = blends[jnp.argsort(rank[blends])]
    if HUE not in active:
        for op in blends:
            image = blend(image, op, strengths[op])
        return image
    first = rank[blends] < rank[HUE]
    for op, here in zip(blends, first, strict=True):
        image = blend(image, op, jnp.where(here, strengths[op], 1.0))
    image = hue(image, strengths[HUE])
    for op, here in zip(blends, first, strict=True):
        image = blend(image, op, jnp.where(here, 1.0, strengths[op]))
    return image


def greyscale(image: Image, do: Switch) -> Image:
    """Takes the colour away where ``do`` holds; the number of channels stays."""
    return jnp.where(do, _grey(image), image)


def solarise(image: Image, do: Switch, threshold: float = 0.5) -> Image:
    """Inverts the values of ``threshold`` and above where ``do`` holds.

    torchvision's threshold is 128 of 255; 0.5 is where a value rounds up to that.
    """
    return jnp.where(do & (image >= threshold), 1.0 - image, image)


def blur(image: Image, sigma: Number, taps: int) -> Image:
    """Gaussian blur, edges reflected (the edge pixel itself is not repeated).

    Separable, as two small matrices. A convolution with a kernel per image is thirty
    times slower on a CPU, and of shifted images XLA would fuse all that came before
    into each shift and compute it as many times.

    Args:
        image: One image, more than ``taps // 2`` pixels high and wide.
        sigma: Standard deviation, pixels, > 0.
        taps: Length of the kernel; odd and static.
    """
    h, w, _ = image.shape
    sigma = jnp.asarray(sigma, image.dtype)
    return _by_axes(image, _blur_matrix(h, sigma, taps), _blur_matrix(w, sigma, taps))


def _blur_matrix(
    size: int, sigma: Float[Array, ""], taps: int
) -> Float[Array, "size size"]:
    """Weights of the blur along one axis; each row sums to 1."""
    places = jnp.arange(size)
    out, here = places[:, None], places[None, :]
    mirrors = [
        (here, here >= 0),
        (-here, here > 0),
        (2 * (size - 1) - here, here < size - 1),
    ]
    weights = jnp.zeros((size, size), sigma.dtype)
    for mirror, exists in mirrors:
        distance = mirror - out
        bell = jnp.exp(-0.5 * (distance / sigma) ** 2)
        weights += jnp.where(exists & (jnp.abs(distance) <= taps // 2), bell, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _by_axes(
    image: Image, rows: Float[Array, "oh h"], columns: Float[Array, "ow w"]
) -> Float[Array, "oh ow c"]:
    """Mixes an image's rows by one matrix and its columns by another."""
    # Accelerators multiply matrices at reduced precision unless told otherwise.
    highest = jax.lax.Precision.HIGHEST
    image = jnp.einsum("pw,hwc->hpc", columns, image, precision=highest)
    return jnp.einsum("oh,hpc->opc", rows, image, precision=highest)
