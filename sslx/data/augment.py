"""Random views of images, made on the device, one key per image.

The chain is that of SimCLR (Chen et al. 2020, appendix A) in the order and with the
numbers of the ICML 2022 study's code: random resized crop, flip, colour jitter,
greyscale, blur. ``draw`` makes the random numbers of one image, ``apply`` is
deterministic in them, ``augment`` is the two together. An image's view depends on its
own key and pixels alone, never on the batch around it.
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

# torchvision draws this many boxes before it falls back on a central crop.
CROP_TRIES = 10


class Recipe(NamedTuple):
    """What a chain does; static under ``jit``. Strength or probability 0 leaves out.

    Attributes:
        crop_area: Least and greatest share of the image's area in the box; a least
            share of 1 means no crop.
        crop_aspect: Least and greatest width over height of the box, log-uniform.
        flip_p: Probability of mirroring left and right.
        jitter_p: Probability of colour jitter, all of it at once.
        brightness: s, for a factor uniform in [max(0, 1 - s), 1 + s].
        contrast: Likewise.
        saturation: Likewise; nothing on grey images.
        hue: s <= 0.5, for a shift uniform in [-s, s] turns; nothing on grey images.
        grey_p: Probability of losing the colour.
        blur_p: Probability of a Gaussian blur.
        blur_sigma: Least and greatest standard deviation, pixels, uniform.
        blur_span: Length of the kernel as a share of the image's shorter side.
    """

    crop_area: tuple[float, float]
    crop_aspect: tuple[float, float]
    flip_p: float
    jitter_p: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey_p: float
    blur_p: float
    blur_sigma: tuple[float, float]
    blur_span: float


PRESETS = {
    # The pixels as they are: evaluation, and queries of untouched images.
    "none": Recipe(
        crop_area=(1.0, 1.0),
        crop_aspect=(1.0, 1.0),
        flip_p=0.0,
        jitter_p=0.0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        grey_p=0.0,
        blur_p=0.0,
        blur_sigma=(1.0, 1.0),
        blur_span=0.0,
    ),
    # The ICML 2022 study, victims and stealers alike: full jitter strength and a blur
    # on every image, both stronger than SimCLR's own recipe for 32 pixels.
    "simclr": Recipe(
        crop_area=(0.08, 1.0),
        crop_aspect=(3 / 4, 4 / 3),
        flip_p=0.5,
        jitter_p=0.8,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        grey_p=0.2,
        blur_p=1.0,
        blur_sigma=(0.1, 2.0),
        blur_span=0.1,
    ),
    # Small grey digits: a mirrored digit is another sign, and a twelfth of its area
    # is a blank.
    "mild": Recipe(
        crop_area=(0.4, 1.0),
        crop_aspect=(3 / 4, 4 / 3),
        flip_p=0.0,
        jitter_p=0.8,
        brightness=0.4,
        contrast=0.4,
        saturation=0.0,
        hue=0.0,
        grey_p=0.0,
        blur_p=0.0,
        blur_sigma=(1.0, 1.0),
        blur_span=0.0,
    ),
}


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
    """

    box: Box
    flip: Bool[Array, ""]
    jitter: Bool[Array, ""]
    strengths: Float[Array, "4"]
    order: Int[Array, "4"]
    grey: Bool[Array, ""]
    blur: Bool[Array, ""]
    sigma: Float[Array, ""]


def draw(key: Key[Array, ""], shape: tuple[int, int, int], recipe: Recipe) -> Draws:
    """Draws all numbers of one view of an image of ``shape`` (h, w, c).

    Each number has its place in the stream, so changing one operation leaves the
    others' draws alone; what a recipe does not use is dropped by the compiler.
    """
    box_key, switch_key, jitter_key, sigma_key = jax.random.split(key, 4)
    chances = (recipe.flip_p, recipe.jitter_p, recipe.grey_p, recipe.blur_p)
    switches = _uniform(switch_key, (4,), 0.0, 1.0) < jnp.array(chances)
    strengths, order = draw_jitter(jitter_key, recipe)
    return Draws(
        box=draw_box(box_key, shape[:2], recipe.crop_area, recipe.crop_aspect),
        flip=switches[0],
        jitter=switches[1],
        strengths=strengths,
        order=order,
        grey=switches[2],
        blur=switches[3],
        sigma=_uniform(sigma_key, (), *recipe.blur_sigma),
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
    return image


def blur_taps(size: int, span: float) -> int:
    """Returns the odd length of the blur's kernel: 3 at 32 pixels, 23 at 224."""
    return 2 * (int(span * size) // 2) + 1


def augment(key: Key[Array, ""], image: Image, recipe: Recipe) -> Image:
    """Makes one random view of one float image in [0, 1]; h, w, c and dtype stay."""
    h, w, c = image.shape
    return apply(image, draw(key, (h, w, c), recipe), recipe)


def augment_batch(
    keys: Key[Array, ""] | Key[Array, "b"],
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
