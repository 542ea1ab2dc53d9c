"""The augmentation of ``sslx.data.augment`` once more, as a batch of PyTorch tensors.

The same operations on the same recipes; images are (b, c, h, w) and every drawn number
has one entry an image. ``benchmarks.equality`` compares ``apply`` with the program's
own for the same draws. Jitter is the program's too, blends before and after hue: a
batch in PyTorch cannot switch the order per image either.
"""

import math

import torch
from torch import Tensor

from sslx.data.augment import CROP_TRIES, blur_taps
from sslx.data.presets import Recipe

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
Draws = dict[str, Tensor]  # the fields of sslx.data.augment.Draws and Box


def _uniform(shape, lowest: float, highest: float, device) -> Tensor:
    return lowest + (highest - lowest) * torch.rand(shape, device=device)


def draw(b: int, h: int, w: int, recipe: Recipe, device) -> Draws:
    """All random numbers of b views."""
    factors = (recipe.brightness, recipe.contrast, recipe.saturation)
    strengths = [
        *(_uniform((b,), max(0.0, 1 - s), 1 + s, device) for s in factors),
        _uniform((b,), -recipe.hue, recipe.hue, device),
    ]
    chances = {
        "flip": recipe.flip_p,
        "jitter": recipe.jitter_p,
        "grey": recipe.grey_p,
        "blur": recipe.blur_p,
        "solarise": recipe.solarise_p,
    }
    return {
        **_draw_box(b, h, w, recipe, device),
        **{k: torch.rand(b, device=device) < p for k, p in chances.items()},
        "strengths": torch.stack(strengths, 1),
        "order": torch.rand(b, 4, device=device).argsort(1),
        "sigma": _uniform((b,), *recipe.blur_sigma, device),
    }


def _draw_box(b: int, h: int, w: int, recipe: Recipe, device) -> Draws:
    """The first of ten boxes that fits, else the central one; whole where none is cut.

    The images are square here, so that the central box is the whole image.
    """
    shape = (b, CROP_TRIES)
    low, high = (h * w * share for share in recipe.crop_area)
    areas = _uniform(shape, low, high, device)
    narrow, wide = map(math.log, recipe.crop_aspect)
    logs = _uniform(shape, narrow, wide, device)
    widths = torch.sqrt(areas * torch.exp(logs)).round()
    heights = torch.sqrt(areas / torch.exp(logs)).round()
    fits = (widths > 0) & (widths <= w) & (heights > 0) & (heights <= h)
    first = fits.int().argmax(1, keepdim=True)
    found = fits.gather(1, first)[:, 0]
    height = torch.where(found, heights.gather(1, first)[:, 0], h)
    width = torch.where(found, widths.gather(1, first)[:, 0], w)
    top = torch.floor(torch.rand(b, device=device) * (h - height + 1))
    left = torch.floor(torch.rand(b, device=device) * (w - width + 1))
    return {"top": top, "left": left, "height": height, "width": width}


def apply(x: Tensor, d: Draws, recipe: Recipe) -> Tensor:
    """The views (b, c, h, w) in [0, 1] that the draws describe."""
    _, channels, h, w = x.shape
    if recipe.crop_area[0] < 1:
        rows = _resize_matrix(h, d["top"], d["height"])
        columns = _resize_matrix(w, d["left"], d["width"])
        x = _by_axes(x, rows, columns)
    if recipe.flip_p > 0:
        x = torch.where(_each(d["flip"]), x.flip(3), x)
    if recipe.jitter_p > 0:
        jittered = _jitter(x, d["strengths"], d["order"], recipe)
        x = torch.where(_each(d["jitter"]), jittered, x)
    if recipe.grey_p > 0 and channels > 1:
        x = torch.where(_each(d["grey"]), _grey(x), x)
    taps = blur_taps(min(h, w), recipe.blur_span)
    if recipe.blur_p > 0 and taps > 1:
        rows, columns = (_blur_matrix(n, d["sigma"], taps) for n in (h, w))
        x = torch.where(_each(d["blur"]), _by_axes(x, rows, columns), x)
    if recipe.solarise_p > 0:
        x = torch.where(_each(d["solarise"]) & (x >= 0.5), 1 - x, x)
    return x


def augment(images: Tensor, recipe: Recipe) -> Tensor:
    """One random view of each float image in [0, 1]."""
    b, _, h, w = images.shape
    return apply(images, draw(b, h, w, recipe, images.device), recipe)


def _each(numbers: Tensor) -> Tensor:
    """(b,) to (b, 1, 1, 1)."""
    return numbers[:, None, None, None]


def _resize_matrix(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Triangles around the output pixels' centres, antialiased; (b, size, size)."""
    start, length = start[:, None, None].float(), length[:, None, None].float()
    pixels = torch.arange(size, device=start.device)
    scale = length / size
    centres = (pixels[:, None] + 0.5) * scale
    places = pixels[None, :] - start + 0.5
    weights = (1 - (places - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((places > 0) & (places < length))
    return weights / weights.sum(2, keepdim=True)


def _blur_matrix(size: int, sigma: Tensor, taps: int) -> Tensor:
    """A Gaussian, edges reflected; (b, size, size)."""
    places = torch.arange(size, device=sigma.device)
    out, here = places[:, None], places[None, :]
    mirrors = [
        (here, here >= 0),
        (-here, here > 0),
        (2 * (size - 1) - here, here < size - 1),
    ]
    weights = torch.zeros(len(sigma), size, size, device=sigma.device)
    for mirror, exists in mirrors:
        distance = mirror - out
        bell = torch.exp(-0.5 * (distance / sigma[:, None, None]) ** 2)
        weights = weights + bell * (exists & (distance.abs() <= taps // 2))
    return weights / weights.sum(2, keepdim=True)


def _by_axes(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mixes rows and columns of each image by matrices of its own."""
    b, c, h, w = x.shape
    x = torch.bmm(x.reshape(b, c * h, w), columns.transpose(1, 2))
    x = x.reshape(b, c, h, w).transpose(2, 3).reshape(b, c * w, h)
    x = torch.bmm(x, rows.transpose(1, 2))
    return x.reshape(b, c, w, h).transpose(2, 3)


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _blend(x: Tensor, op: Tensor, factor: Tensor) -> Tensor:
    op, factor = _each(op), _each(factor)
    grey = _grey(x)
    other = torch.where(op == SATURATION, grey, grey.mean((1, 2, 3), keepdim=True))
    other = torch.where(op == BRIGHTNESS, 0.0, other)
    return (factor * x + (1 - factor) * other).clamp(0, 1)


def _hue(x: Tensor, shift: Tensor) -> Tensor:
    red, green, blue = x.unbind(1)
    value = x.amax(1)
    chroma = value - x.amin(1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(
            value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0
        ),
    )
    sextant = sextant + 6.0 * shift[:, None, None]
    channels = [torch.remainder(sextant + turn, 6.0) for turn in (5.0, 3.0, 1.0)]
    phase = torch.stack(channels, 1)
    trapezium = torch.minimum(phase, 4.0 - phase).clamp(0, 1)
    return value[:, None] - chroma[:, None] * trapezium


def _jitter(x: Tensor, strengths: Tensor, order: Tensor, recipe: Recipe) -> Tensor:
    """The blends before hue, hue, and the blends after it, in each image's order."""
    sizes = (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    coloured = x.shape[1] > 1
    active = [
        op
        for op, size in enumerate(sizes)
        if size > 0 and (coloured or op in (BRIGHTNESS, CONTRAST))
    ]
    rank = order.argsort(1)
    blends = [op for op in active if op != HUE]
    places = torch.stack([rank[:, op] for op in blends], 1).argsort(1)
    # (b, blends), each image's order; by arithmetic, since a tensor of constants would
    # be a copy from the host in each step.
    ops = sum((places == i) * op for i, op in enumerate(blends))
    factors = strengths.gather(1, ops)
    if HUE not in active:
        for i in range(ops.shape[1]):
            x = _blend(x, ops[:, i], factors[:, i])
        return x
    before = rank.gather(1, ops) < rank[:, HUE, None]
    for i in range(ops.shape[1]):
        x = _blend(x, ops[:, i], torch.where(before[:, i], factors[:, i], 1.0))
    x = _hue(x, strengths[:, HUE])
    for i in range(ops.shape[1]):
        x = _blend(x, ops[:, i], torch.where(before[:, i], 1.0, factors[:, i]))
    return x
