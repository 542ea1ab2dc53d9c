import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sslx.data import form
from sslx.data.source import Info, Options


def file(image, kind="png", **kw):
    out = io.BytesIO()
    image.save(out, kind, **kw)
    return out.getvalue()


def test_decode_of_every_kind():
    # Catches palette indices taken for grey, what lies under transparent pixels, a
    # rotation that is ignored, and a bilevel image of zeros and ones.
    red = np.zeros((2, 4, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    rgb = Image.fromarray(red)
    np.testing.assert_array_equal(form.decode(file(rgb)), red)
    np.testing.assert_array_equal(form.decode(file(rgb.convert("P"))), red)
    clear = Image.fromarray(np.dstack([red, np.zeros((2, 4), np.uint8)]))
    assert (form.decode(file(clear)) == 255).all()
    grey = np.arange(8, dtype=np.uint8).reshape(2, 4)
    np.testing.assert_array_equal(
        form.decode(file(Image.fromarray(grey))), grey[..., None]
    )
    assert form.decode(file(Image.fromarray(grey)), 3).shape == (2, 4, 3)
    assert form.decode(file(rgb), 1).shape == (2, 4, 1)
    bits = Image.fromarray(grey > 3)
    assert set(np.unique(form.decode(file(bits)))) == {0, 255}
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    turned = form.decode(file(Image.fromarray(grey), exif=exif))
    np.testing.assert_array_equal(turned[..., 0], np.rot90(grey, -1))


@pytest.mark.parametrize(
    "content", [b"", b"text", file(Image.fromarray(np.zeros((9, 9), np.uint8)))[:-30]]
)
def test_what_is_no_image(content):
    # Catches a truncated file passed on half black.
    with pytest.raises(ValueError):
        form.decode(content)


def test_deep_images_are_refused():
    # Catches 16 bits clipped to 8: nearly all white.
    deep = Image.fromarray(np.full((3, 3), 700, np.uint16))
    with pytest.raises(ValueError, match="8 bits"):
        form.decode(file(deep))


def deep_png(colour, channels):
    def chunk(kind, content):
        sealed = kind + content
        return struct.pack(">I", len(content)) + sealed + zlib.crc32(sealed).to_bytes(4)

    head = struct.pack(">IIBBBBB", 2, 2, 16, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(2 * 2 * channels)) * 2)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def deep_tiff():
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 122), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 2), (273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, 2)]
    tags += [(279, 4, 1, 24)]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
    return head.ljust(122, b"\0") + struct.pack("<3H", 16, 16, 16) + bytes(24)


@pytest.mark.parametrize(
    "content",
    [deep_png(0, 1), deep_png(2, 3), deep_png(4, 2), deep_png(6, 4), deep_tiff()]
    + [b"P5\n2 2\n65535\n" + bytes(8), b"P6\n2 2\n65535\n" + bytes(24)],
)
def test_deep_colours_are_refused(content):
    # Catches Pillow dropping the lower byte without a word.
    Image.open(io.BytesIO(content)).load()  # it does read them
    with pytest.raises(ValueError, match="8 bits"):
        form.decode(content)


def test_shallow_files_of_the_same_kinds():
    # Catches a check that refuses what is fine.
    rgb = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    for kind in ("png", "tiff", "ppm", "bmp"):
        np.testing.assert_array_equal(form.decode(file(rgb, kind)), np.asarray(rgb))
    grey = rgb.convert("L")
    for kind in ("png", "tiff", "ppm"):
        assert form.decode(file(grey, kind)).shape == (4, 4, 1)
    assert form.decode(b"P6\n1 1\n15\n" + bytes(3)).shape == (1, 1, 3)


def test_fit():
    # Catches a stretched image, a corner in place of the middle, nearest neighbours.
    wide = np.zeros((4, 8, 1), np.uint8)
    wide[:, 2:6] = 200  # the square in the middle
    assert (form.fit(wide, Options(size=4)) == 200).all()
    assert form.fit(wide, Options(size=2, channels=3)).shape == (2, 2, 3)
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    small = form.fit(stripes, Options(size=2))
    assert (abs(small.astype(int) - 100) <= 15).all()  # antialiased, 0 or 200 if not
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    rgb = form.fit(grey, Options(channels=3))
    np.testing.assert_array_equal(rgb, np.repeat(grey, 3, axis=2))
    assert form.fit(grey, Options(size=4)) is grey


def test_identity_has_the_form_only_where_it_changes_something():
    # Catches a victim trained anew because a form it has already was spelt out, and
    # resized images taken for the set itself.
    info = Info({"x": 1}, "x", (32, 32, 3), 10, {})
    assert form.described(info, Options(size=32, channels=3)) == info
    small = form.described(info, Options(size=16, channels=3))
    assert small.identity == {"x": 1, "form": {"size": 16}}
    assert small.image_shape == (16, 16, 3)
    grey = info._replace(image_shape=(32, 32, 1))
    assert form.described(grey, Options(channels=3)).identity["form"] == {"channels": 3}
    mixed = info._replace(image_shape=(None, None, 3))
    assert form.described(mixed, Options(size=32)).image_shape == (32, 32, 3)
    assert form.described(mixed, Options(size=32)).identity["form"] == {"size": 32}


def test_pixel_id():
    # Catches ids that depend on the memory layout, or are the same for other shapes.
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    number = form.pixel_id(image)
    assert 0 <= number < 2**63
    assert form.pixel_id(np.asfortranarray(image)) == number
    assert form.pixel_id(image.reshape(4, 2, 3)) != number
    assert form.pixel_id(255 - image) != number
