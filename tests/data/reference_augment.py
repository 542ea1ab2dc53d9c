"""Augmentation from its definitions: float64 NumPy, pixel by pixel, slow.

Written from torchvision's and PIL's definitions, without sight of the code under test.
"""

import colorsys
import math

import numpy as np


def crop_resize(image, top, left, height, width, out_size):
    box = np.asarray(image, np.float64)[top : top + height, left : left + width]
    rows = _resize_rows(box, out_size[0])
    return _resize_rows(rows.swapaxes(0, 1), out_size[1]).swapaxes(0, 1)


def _resize_rows(box, out):
    # Pillow, Resample.c: precompute_coeffs with the bilinear filter.
    size = len(box)
    scale = size / out
    support = max(scale, 1.0)
    result = np.zeros((out, *box.shape[1:]))
    for o in range(out):
        centre = (o + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(size, int(centre + support + 0.5))
        total = 0.0
        for i in range(first, last):
            weight = max(0.0, 1.0 - abs((i + 0.5 - centre) / support))
            result[o] += weight * box[i]
            total += weight
        result[o] /= total
    return result


def flip(image, do):
    image = np.asarray(image, np.float64)
    return image[:, ::-1] if do else image


def grey(image):
    image = np.asarray(image, np.float64)
    if image.shape[-1] == 1:
        return image
    luma = 0.2989 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
    return luma[..., None]


def greyscale(image, do):
    image = np.asarray(image, np.float64)
    return np.repeat(grey(image), image.shape[-1], axis=-1) if do else image


def brightness(image, factor):
    return np.clip(factor * np.asarray(image, np.float64), 0, 1)


def contrast(image, factor):
    image = np.asarray(image, np.float64)
    return np.clip(factor * image + (1 - factor) * np.mean(grey(image)), 0, 1)


def saturation(image, factor):
    image = np.asarray(image, np.float64)
    if image.shape[-1] == 1:
        return image
    return np.clip(factor * image + (1 - factor) * grey(image), 0, 1)


def hue(image, shift):
    image = np.asarray(image, np.float64)
    if image.shape[-1] == 1:
        return image
    result = np.zeros_like(image)
    for place in np.ndindex(*image.shape[:2]):
        turn, pure, value = colorsys.rgb_to_hsv(*map(float, image[place]))
        result[place] = colorsys.hsv_to_rgb((turn + float(shift)) % 1.0, pure, value)
    return result


def jitter(image, strengths, order):
    for op in order:
        image = (brightness, contrast, saturation, hue)[op](image, float(strengths[op]))
    return image


def blur(image, sigma, taps):
    image = np.asarray(image, np.float64)
    radius = taps // 2
    kernel = [math.exp(-0.5 * (t / sigma) ** 2) for t in range(-radius, radius + 1)]
    h, w, _ = image.shape
    result = np.zeros_like(image)
    for y, x in np.ndindex(h, w):
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                weight = kernel[dy + radius] * kernel[dx + radius]
                result[y, x] += weight * image[_reflect(y + dy, h), _reflect(x + dx, w)]
    return result / sum(kernel) ** 2


def _reflect(place, size):
    if place < 0:
        return -place
    return 2 * (size - 1) - place if place >= size else place


def chain(image, draws, taps):
    """Crop, flip, jitter, greyscale, blur, solarisation; all of them switched on."""
    image = crop_resize(image, *(int(n) for n in draws.box), image.shape[:2])
    image = flip(image, draws.flip)
    if draws.jitter:
        image = jitter(image, draws.strengths, draws.order)
    image = greyscale(image, draws.grey)
    image = blur(image, float(draws.sigma), taps) if draws.blur else image
    return solarise(image) if draws.solarise else image


def solarise(image):
    result = np.array(image, np.float64)
    for place in np.ndindex(result.shape):
        if result[place] >= 0.5:
            result[place] = 1 - result[place]
    return result


def random_box(rng, size, area, aspect):
    """torchvision's RandomResizedCrop.get_params: top, left, height, width."""
    h, w = size
    for _ in range(10):
        target = h * w * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        width = round(math.sqrt(target * ratio))
        height = round(math.sqrt(target / ratio))
        if 0 < width <= w and 0 < height <= h:
            top = rng.integers(0, h - height + 1)
            return top, rng.integers(0, w - width + 1), height, width
    if w / h < aspect[0]:
        width, height = w, round(w / aspect[0])
    elif w / h > aspect[1]:
        width, height = round(h * aspect[1]), h
    else:
        width, height = w, h
    return (h - height) // 2, (w - width) // 2, height, width
