"""The form of images: from encoded files to uint8 arrays of the size asked for."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sslx.data.source import Info, Options
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


def apart(ids: dict[str, list[int]], words: Callable[[int, int], str]) -> None:
    """Raises a UserError if an image stands in both splits.

    Args:
        ids: Split -> ``pixel_id`` of each row.
        words: Says that a row of the test split is a row of the other one.
    """
    rows = {mark: row for row, mark in enumerate(ids["train"])}
    for row, mark in enumerate(ids["test"]):
        if mark in rows:
            raise UserError(
                f"{words(row, rows[mark])}: a test image must not be trained on; "
                "remove one of them"
            )


def common(shapes: Iterable[Shape]) -> Shape:
    """What shapes have in common; None where they differ."""
    h, w, c = (d[0] if len(set(d)) == 1 else None for d in zip(*shapes, strict=True))
    return h, w, c


def target(shape: Shape, options: Options) -> Shape:
    """The shape (h, w, c) that images of a shape are brought to.

    Raises:
        UserError: Options out of range, or channels that cannot be changed.
    """
    h, w, c = shape
    refuse_if(options.size < 0, f"data.size must be 0 or more, not {options.size}")
    refuse_if(
        options.channels not in (0, *_MODES),
        f"data.channels must be 0, 1 or 3, not {options.channels}",
    )
    size = options.size
    new = (size or h, size or w, options.channels or c)
    refuse_if(
        new != shape and c not in (None, *_MODES),
        f"images of {c} channels keep their form; set data.size and data.channels to 0",
    )
    return new


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
