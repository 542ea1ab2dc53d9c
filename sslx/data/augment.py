"""Random views of images, made on the device, one key per image.

The chain is that of SimCLR (Chen et al. 2020, appendix A) in the order and with the
numbers of the ICML 2022 study's code: random resized crop, flip, colour jitter,
greyscale, blur, and last BYOL's solarisation. ``draw`` makes the random numbers of one
image, ``apply`` is deterministic in them, ``augment`` is the two together. An image's
view depends on its own key and pixels alone, never on the batch around it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Key, UInt8

from sslx.data import augment_ops as ops
from sslx.data.augment_ops import Image
from sslx.data.presets import Recipe

# torchvision draws this many boxes before it falls back on a central crop.
CROP_TRIES = 10
# Number of the key from which solarisation is drawn; any but the split's 0 to 3.
_SOLARISE = 1000


class Box(NamedTuple):
    """A crop: first row, first column, rows, columns; pixels."""

    top: Int[Array, ""]
    left: Int[Array, ""]
    height: Int[Array, ""]
    width: Int[Array, ""]


class Draws(NamedTuple):
    """The random numbers of one view.

    Attributes:
        box: What is cut out.
        flip: Whether to mirror.
        jitter: Whether to jitter.
        strengths: Factors of brightness, contrast and saturation, and the hue shift.
        order: The order of those four, a permutation of 0..3.
        grey: Whether to take the colour away.
        blur: Whether to blur.
        sigma: The blur's standard deviation, pixels.
        solarise: Whether to invert the bright values.
    """

    box: Box
    flip: Bool[Array, ""]
    jitter: Bool[Array, ""]
    strengths: Float[Array, "4"]
    order: Int[Array, "4"]
    grey: Bool[Array, ""]
    blur: Bool[Array, ""]
    sigma: Float[Array, ""]
    solarise: Bool[Array, ""]


def draw(key: Key[Array, ""], shape: tuple[int, int, int], recipe: Recipe) -> Draws:
    """Draws all numbers of one view of an image of ``shape`` (h, w, c).

    Each number has its place in the stream, so changing one operation leaves the
    others' draws alone; what a recipe does not use is dropped by the compiler.
    """
    box_key, switch_key, jitter_key, sigma_key = jax.random.split(key, 4)
    chances = (recipe.flip_p, recipe.jitter_p, recipe.grey_p, recipe.blur_p)
    switches = _uniform(switch_key, (4,), 0.0, 1.0) < jnp.array(chances)
    strengths, order = draw_jitter(jitter_key, recipe)
    # A key of its own, beside the split's four, which would differ if there were five.
    solarise = _uniform(jax.random.fold_in(key, _SOLARISE), (), 0.0, 1.0)
    return Draws(
        box=draw_box(box_key, shape[:2], recipe.crop_area, recipe.crop_aspect),
        flip=switches[0],
        jitter=switches[1],
        strengths=strengths,
        order=order,
        grey=switches[2],
        blur=switches[3],
        sigma=_uniform(sigma_key, (), *recipe.blur_sigma),
        solarise=solarise < recipe.solarise_p,
    )


def draw_box(
    key: Key[Array, ""],
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Box:
    """Draws a box as torchvision's RandomResizedCrop does.

    The first of ten boxes that fits into the image, at a uniform place; should none
    fit, the greatest central box whose aspect is allowed.

    Args:
        key: Random key.
        size: Rows and columns of the image.
        area: Least and greatest share of the image's area.
        aspect: Least and greatest width over height.
    """
    h, w = size
    shape_key, place_key = jax.random.split(key)
    lowest, highest = aspect
    areas, logs = _uniform(
        shape_key,
        (2, CROP_TRIES),
        jnp.array([[h * w * area[0]], [math.log(lowest)]]),
        jnp.array([[h * w * area[1]], [math.log(highest)]]),
    )
    widths = jnp.round(jnp.sqrt(areas * jnp.exp(logs))).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(areas / jnp.exp(logs))).astype(jnp.int32)
    fits = (widths > 0) & (widths <= w) & (heights > 0) & (heights <= h)
    central_h, central_w = h, w
    if w / h < lowest:
        central_h = round(w / lowest)
    elif w / h > highest:
        central_w = round(h * highest)
    chosen = jnp.argmax(fits)
    found = fits[chosen]
    height = jnp.where(found, heights[chosen], central_h)
    width = jnp.where(found, widths[chosen], central_w)
    room = jnp.array([h - height, w - width])
    top, left = jax.random.randint(place_key, (2,), 0, room + 1, jnp.int32)
    return Box(
        top=jnp.where(found, top, (h - central_h) // 2),
        left=jnp.where(found, left, (w - central_w) // 2),
        height=height,
        width=width,
    )


def draw_jitter(
    key: Key[Array, ""], recipe: Recipe
) -> tuple[Float[Array, "4"], Int[Array, "4"]]:
    """Draws the strengths of the four sub-operations and a uniformly random order."""
    strengths_key, order_key = jax.random.split(key)
    factors = (recipe.brightness, recipe.contrast, recipe.saturation)
    lowest = jnp.array([max(0.0, 1 - s) for s in factors] + [-recipe.hue])
    highest = jnp.array([1 + s for s in factors] + [recipe.hue])
    order = jax.random.permutation(order_key, jnp.arange(4, dtype=jnp.int32))
    return _uniform(strengths_key, (4,), lowest, highest), order


def _uniform(
    key: Key[Array, ""],
    shape: tuple[int, ...],
    lowest: Float[ArrayLike, "..."],
    highest: Float[ArrayLike, "..."],
) -> Float[Array, "..."]:
    # Always float32, so that switching float64 on does not change the views.
    low, high = jnp.float32(lowest), jnp.float32(highest)
    return low + jax.random.uniform(key, shape, jnp.float32) * (high - low)


def apply(image: Image, draws: Draws, recipe: Recipe) -> Image:
    """Makes the view of one image in [0, 1] that ``draws`` describe; h, w, c stay.

    The recipe only says which operations there are.
    """
    h, w, channels = image.shape
    if recipe.crop_area[0] < 1:
        image = ops.crop_resize(image, *draws.box, (h, w))
    if recipe.flip_p > 0:
        image = ops.flip(image, draws.flip)
    strengths = (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    active = [op for op, strength in enumerate(strengths) if strength > 0]
    if recipe.jitter_p > 0 and active:
        jittered = ops.jitter(image, draws.strengths, draws.order, active)
        image = jnp.where(draws.jitter, jittered, image)
    if recipe.grey_p > 0 and channels > 1:
        image = ops.greyscale(image, draws.grey)
    taps = blur_taps(min(h, w), recipe.blur_span)
    if recipe.blur_p > 0 and taps > 1:
        blurred = ops.blur(image, draws.sigma, taps)
        image = jnp.where(draws.blur, blurred, image)
    if recipe.solarise_p > 0:
        image = ops.solarise(image, draws.solarise)
    return image


def blur_taps(size: int, span: float) -> int:
    """Returns the odd length of the blur's kernel: 3 at 32 pixels, 23 at 224."""
    return 2 * (int(span * size) // 2) + 1


def augment(key: Key[Array, ""], image: Image, recipe: Recipe) -> Image:
    """Makes one random view of one float image in [0, 1]; h, w, c and dtype stay."""
    h, w, c = image.shape
    return apply(image, draw(key, (h, w, c), recipe), recipe)


def augment_batch(
    keys: Key[Array, ""] | Key[Array, " b"],
    images: UInt8[Array, "b h w c"] | Float[Array, "b h w c"],
    recipe: Recipe,
) -> Float[Array, "b h w c"]:
    """Makes one random view of each image.

    Args:
        keys: One key, which is split into one per image, or a key per image.
        images: 0..255 as uint8, or floats in [0, 1].
        recipe: What to do; static under ``jit``.

    Returns:
        float32 in [0, 1].
    """
    if keys.ndim == 0:
        keys = jax.random.split(keys, len(images))
    if images.dtype == jnp.uint8:
        images = images.astype(jnp.float32) / 255.0
    images = images.astype(jnp.float32)
    return jax.vmap(lambda key, image: augment(key, image, recipe))(keys, images)
