"""Saliency: which pixels are blurred, and what the victim is shown."""

import numpy as np
import pytest

from sslx.service import DEFENCES, make_defence
from sslx.service.defences.saliency import mixed, salience
from sslx.types import UserError
from tests.service.box import opened
from tests.service.defended import POOL, embedded, gradient, ready


def linear(w):
    """The gradient of the squared norm of a linear victim, by hand."""

    def of(score, images):
        x = images.reshape(len(images), -1).astype(np.float64)
        return (2 * x @ w @ w.T).reshape(images.shape)

    return of


def mirrored(i, n):
    """Which of n pixels stands at place i of a line that is mirrored at its ends."""
    while not 0 <= i < n:
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


def slow(images, w, deviation):
    """Mask and blur, pixel by pixel, and the share of pixels changed."""
    reach = int(2.2 * deviation + 0.5)
    kernel = [np.exp(-(t**2) / 2 / deviation**2) for t in range(-reach, reach + 1)]
    kernel = np.array(kernel) / sum(kernel)
    out = images.copy()
    for image, shown in zip(images, out, strict=True):
        x = image.astype(float).ravel()
        slope = np.abs((w @ (w.T @ x)) / np.linalg.norm(w.T @ x)).reshape(image.shape)
        value = slope.sum(2)
        value = (value - value.min()) / (value.max() - value.min())
        h, width, channels = image.shape
        for i in range(h):
            for j in range(width):
                if value[i, j] < value.mean():
                    continue
                for c in range(channels):
                    total = 0.0
                    for a, ka in enumerate(kernel):
                        for b, kb in enumerate(kernel):
                            at = (
                                mirrored(i + a - reach, h),
                                mirrored(j + b - reach, width),
                            )
                            total += ka * kb * image[(*at, c)]
                    shown[i, j, c] = np.round(total)
    return out


@pytest.mark.parametrize(
    ("shape", "blur"), [((8, 8, 1), 0.15), ((8, 8, 3), 0.3), ((6, 9, 2), 0.4)]
)
def test_what_is_shown_is_that_of_the_slow_reference(shape, blur):
    # A mask of signed gradients or of the batch's scale, a blur that darkens the edges
    # or goes across images or channels, all pixels blurred or none.
    random = np.random.default_rng(shape[1])
    images = random.integers(0, 256, (3, *shape), np.uint8)
    w = random.normal(size=(images[0].size, 5))
    found = DEFENCES["saliency"](blur=blur).before({}, images, linear(w))
    np.testing.assert_array_equal(found, slow(images, w, blur * min(shape[:2])))
    changed = (found != images).any(axis=3).mean()
    assert 0.2 < changed < 0.8


def test_the_mean_is_the_images_own():
    # The published defect: a mask by all images of the batch.
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (4, 8, 8, 1), np.uint8)
    images[2] //= 30  # of small gradients
    of = linear(random.normal(size=(64, 3)))
    whole = DEFENCES["saliency"](blur=0.3).before({}, images, of)
    for i in range(4):
        alone = DEFENCES["saliency"](blur=0.3).before({}, images[[i]], of)
        np.testing.assert_array_equal(alone[0], whole[i])
    batch = DEFENCES["saliency_reference"]().before({}, images, of)
    assert (batch[2] == images[2]).all() and (batch[0] != images[0]).any()


@pytest.mark.parametrize("name", ["saliency", "saliency_reference"])
def test_a_victim_without_a_gradient(tmp_path, name):
    # A traceback in the middle of a study.
    defence = make_defence([name], {"saliency": {"blur": 0.2}})
    with pytest.raises(UserError, match="wants a victim whose gradient is known") as e:
        opened(tmp_path / "a", embedded, defence=defence)
    assert "\n" not in str(e.value) and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda score, x: gradient(score, x)[:1],
        lambda score, x: gradient(score, x) * np.nan,
        lambda score, x: gradient(score, x)[..., 0],
    ],
)
def test_a_gradient_that_is_none(tmp_path, wrong):
    # A mask of NaNs, which blurs nothing and says nothing.
    defence = DEFENCES["saliency"](blur=0.2)
    service = ready(tmp_path / "a", defence, gradient=wrong)
    with pytest.raises(UserError, match="the victim's gradient has shape"):
        service.query("a", POOL[:3])
    assert service.counters("a").images == 0
    service.close()


@pytest.mark.parametrize("blur", [1.5, 3.0, 40.0])
def test_a_blur_wider_than_the_image(blur):
    # Pixels taken for a share.
    with pytest.raises(UserError, match=r"^service.defence_kw.saliency.blur .*share"):
        make_defence(["saliency"], {"saliency": {"blur": blur}})


def test_an_answer_of_zeros_has_a_gradient():
    # The norm's own gradient is no number there.
    dark = np.zeros((2, 2, 3, 1), np.uint8)
    value = salience(gradient, dark)
    np.testing.assert_array_equal(value, np.zeros((2, 2, 3)))
    assert mixed(dark, value >= 0, 0.5).max() == 0
