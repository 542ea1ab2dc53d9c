import io

import numpy as np
import pytest
from PIL import Image

from sslx.data import form
from sslx.data.source import Info, Options
from sslx.types import UserError


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
    with pytest.raises(UserError, match="2 channels"):
        form.fit(np.zeros((4, 4, 2), np.uint8), Options(size=2))


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
