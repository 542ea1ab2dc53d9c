"""The form of images: from encoded files to uint8 arrays of the size asked for."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sslx.data.source import Info, Options
from sslx.progress import say_once
from sslx.types import UserError, refuse_if

Shape = tuple[int | None, int | None, int | None]

_MODES = {1: "L", 3: "RGB"}
_GREY = ("1", "L", "LA", "La")


def decode(content: bytes, channels: int = 0) -> np.ndarray:
    """Decodes an image file.

    A rotation noted by the camera (EXIF) is carried out, a palette is looked up, what
    is transparent shows white.

    Args:
        content: The file.
        channels: 1 or 3; 0 for 1 where the file is grey and 3 where it is coloured.

    Returns:
        uint8 (h, w, channels).

    Raises:
        ValueError: Not an image, cut short, or of more than 8 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; errors still come
            image: Image.Image = Image.open(io.BytesIO(content))
            deep = _is_deep(image, content)
            image.load()
            if deep:
                raise ValueError("more than 8 bits a channel; convert it to 8")
            if image.getexif():
                image = ImageOps.exif_transpose(image)
            grey = image.mode in _GREY
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            mode = _MODES[channels or (1 if grey else 3)]
            image = image.convert(mode) if image.mode != mode else image
    except UnidentifiedImageError:
        raise ValueError("no kind of image that Pillow knows") from None
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        raise ValueError(str(error).splitlines()[0] if str(error) else "") from None
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def is_stack(content: bytes) -> bool:
    """Whether a file holds several pictures, of which ``decode`` reads the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(content))
        # The second one of a telephone's JPEG file is the first again.
        return getattr(image, "is_animated", False) and image.format != "MPO"


def _is_deep(image: Image.Image, content: bytes) -> bool:
    """Whether a file that was opened, not loaded, has more than 8 bits a channel.

    Pillow keeps them where it has a mode for them, else it drops the lower ones and
    does not say so.
    """
    if image.mode.split(";")[0] in ("I", "F"):  # the first one with its kin, I;16 ...
        return True
    if image.format == "PNG":
        return content[24] > 8  # of IHDR, which always comes first
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8  # type: ignore[attr-defined]
    if image.format == "PPM":
        # Of the decoder; where it is told the highest value, that comes last.
        settings = image.tile[0][3]  # type: ignore[attr-defined]
        return isinstance(settings, tuple) and settings[-1] > 255
    return False


def digest(*ids: np.ndarray) -> str:
    """16 hexadecimal digits of arrays of ids, in their order: part of an identity."""
    sha = hashlib.sha256()
    for array in ids:
        sha.update(f"{len(array)};".encode() + array.astype("<i8").tobytes())
    return sha.hexdigest()[:16]


def pixel_id(image: np.ndarray) -> int:
    """63 bits that are equal for equal images, whatever file they came in."""
    sha = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    sha.update(np.ascontiguousarray(image).tobytes())
    return int.from_bytes(sha.digest(), "big") >> 1


def pixel_ids(images: np.ndarray) -> np.ndarray:
    """``pixel_id`` of each of uint8 (n, h, w, c): int64 (n,)."""
    return np.fromiter(map(pixel_id, images), np.int64, len(images))


def apart(
    ids: dict[str, list[int]], where: object, words: Callable[[int, int], str]
) -> None:
    """Raises a UserError if images stand in both splits.

    Args:
        ids: Split -> ``pixel_id`` of each row.
        where: The set, for the message.
        words: Says that a row of the test split is a row of the other one.
    """
    rows, test = {mark: row for row, mark in enumerate(ids["train"])}, ids["test"]
    again = [(row, rows[mark]) for row, mark in enumerate(test) if mark in rows]
    first = ", ".join(words(*pair) for pair in again[:3])
    more = ", ..." if len(again) > 3 else ""
    refuse_if(
        again,
        f"{where}: {len(again)} of {len(test)} test images are training images again "
        f"({first}{more}); a test image must not be trained on: remove one of each two",
    )


def common(shapes: Iterable[Shape]) -> Shape:
    """What shapes have in common; None where they differ."""
    h, w, c = (d[0] if len(set(d)) == 1 else None for d in zip(*shapes, strict=True))
    return h, w, c


def check_shape(shape: tuple[int, ...], what: str) -> None:
    """Raises a UserError unless images of a shape (h, w, c) can be worked on.

    One or three channels, and a pixel at least: encoders and augmentations take that.

    Args:
        shape: As it is given, whatever it is.
        what: The images, in a message.
    """
    if len(shape) == 3 and shape[2] in _MODES and min(shape) > 0:
        return
    mend = "sslx takes (h, w, 1) or (h, w, 3)"
    if len(shape) == 3 and min(shape) > 0:
        if shape[0] in (*_MODES, 2, 4) and shape[2] not in (2, 4):
            mend = "channels come last: save np.moveaxis(images, 1, -1)"
        elif shape[1] in _MODES:
            mend = "the number of images comes first: save np.moveaxis(images, -1, 0)"
        elif shape[2] == 4:
            mend = "of 4 channels sslx takes the colours: save images[..., :3]"
        elif shape[2] == 2:
            mend = "of 2 channels sslx takes the grey one: save images[..., :1]"
    raise UserError(f"{what} are of shape {tuple(shape)}; {mend}")


def check_images(images: np.ndarray, what: str) -> np.ndarray:
    """Images as they are worked on: uint8 (n, h, w, c), c 1 or 3.

    Args:
        images: So, or grey ones (n, h, w), or of another type of whole numbers that
            are all in 0..255, which is told.
        what: What they are called in messages.

    Raises:
        UserError: Anything else.
    """
    refuse_if(
        images.ndim not in (3, 4),
        f"{what} must be uint8 of shape (n, h, w, c) or (n, h, w), not {images.dtype} "
        f"{images.shape}; rows of pixels become images by images.reshape(n, h, w, c), "
        "or, where each colour comes by itself, as in CIFAR's own files, by "
        "images.reshape(n, 3, h, w).transpose(0, 2, 3, 1)",
    )
    refuse_if(len(images) == 0, f"{what} is empty")
    images = images[..., None] if images.ndim == 3 else images
    check_shape(images.shape[1:], what)
    return images if images.dtype == np.uint8 else _as_bytes(images, what)


def _as_bytes(images: np.ndarray, what: str) -> np.ndarray:
    """Whole numbers in 0..255 as uint8; for anything else the line that mends it."""
    kind, span = images.dtype.kind, ""
    mend = "bring the 8-bit images that they were made from"
    if kind in "biuf":
        least, most = images.min(), images.max()
        if kind in "iu" and least >= 0 and most <= 255:
            say_once(f"{what}: {images.dtype}, all in 0..255, are read as uint8")
            return images.astype(np.uint8)
        if kind == "b" or (kind == "f" and least >= 0 and most <= 1):
            mend = "save (images * 255.0).round().astype(np.uint8)"
        elif kind == "f" and least >= 0 and most <= 255:
            mend = "save images.round().astype(np.uint8)"
        elif kind == "f" and least >= -1 and most <= 1:
            mend = "save ((images + 1) * 127.5).round().astype(np.uint8)"
        elif least >= 0 and most < 2**16:
            mend = "if they are of 16 bits, save (images // 256).astype(np.uint8)"
        span = f", from {float(least):g} to {float(most):g}"
    raise UserError(f"{what} must be uint8, 0 to 255, not {images.dtype}{span}; {mend}")


def target(shape: Shape, options: Options) -> Shape:
    """The shape (h, w, c) that images of a shape are brought to.

    Raises:
        UserError: Options out of range.
    """
    h, w, c = shape
    refuse_if(options.size < 0, f"data.size must be 0 or more, not {options.size}")
    refuse_if(
        options.channels not in (0, *_MODES),
        f"data.channels must be 0, 1 or 3, not {options.channels}",
    )
    size = options.size
    return (size or h, size or w, options.channels or c)


def fit(image: np.ndarray, options: Options) -> np.ndarray:
    """Brings one uint8 image (h, w, c) into the form asked for.

    Bilinear over the area that a pixel covers (antialiased); an image that is in the
    form already comes back as it is.
    """
    h, w, c = image.shape
    new = target((h, w, c), options)
    if new == image.shape:
        return image
    picture = Image.fromarray(image[..., 0] if c == 1 else image)
    if new[2] != c:
        picture = picture.convert(_MODES[options.channels])
    if new[:2] != (h, w):
        square = (options.size, options.size)
        picture = ImageOps.fit(picture, square, Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape([n or 0 for n in new])


def fit_all(images: np.ndarray, options: Options) -> np.ndarray:
    """``fit`` for uint8 (n, h, w, c); the same array where nothing changes."""
    if target(images.shape[1:], options) == images.shape[1:]:
        return images
    return np.stack([fit(image, options) for image in images])


def described(info: Info, options: Options) -> Info:
    """``info`` of the images as they are read.

    The form enters the identity only where it changes something, so a set that has it
    already is the same set.
    """
    new = target(info.image_shape, options)
    form = {}
    if new[:2] != info.image_shape[:2]:
        form["size"] = options.size
    if new[2] != info.image_shape[2]:
        form["channels"] = options.channels
    identity = info.identity | ({"form": form} if form else {})
    return info._replace(identity=identity, image_shape=new)
