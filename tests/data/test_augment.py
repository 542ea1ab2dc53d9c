import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_augment as reference
import scipy.ndimage
from PIL import Image, ImageOps

from sslx.data import augment as A
from sslx.data import augment_ops as ops
from sslx.data.presets import PRESETS

SHAPES = [(9, 9, 3), (12, 8, 3), (8, 13, 1)]
SIMCLR = PRESETS["simclr"][0]
# Everything on, nothing certain, and a kernel of 5 taps at 12 pixels.
FULL = SIMCLR._replace(blur_p=0.6, blur_span=0.35, grey_p=0.4, solarise_p=0.3)


# Most of these run once: compiling well would take longer than all of them.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def picture(shape, seed=0):
    image = np.random.default_rng(seed).uniform(size=shape).astype(np.float32)
    # Corners of the colour cube, where hue has no value or sits on a seam.
    image[0, :4] = [[0.0], [1.0], [0.5], [0.25]]
    if shape[-1] == 3:
        image[1, :3] = np.eye(3)
        image[1, 3:6] = 1 - np.eye(3)
    return image


def close(ours, theirs, atol=1e-5):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=atol)


@functools.cache
def many(shape=(32, 32, 3), recipe=SIMCLR, n=4000):
    keys = jax.random.split(jax.random.key(3), n)
    draws = quick(jax.vmap(lambda key: A.draw(key, shape, recipe)))(keys)
    return jax.tree.map(np.asarray, draws)


BOXES = [(0, 0, 8, 8), (1, 2, 5, 3), (3, 1, 1, 6), (2, 0, 6, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("out", [(9, 7), (3, 4)])
def test_crop_resize(shape, out):
    # Catches swapped axes, a half-pixel shift, weights from outside the box and a
    # missing antialias filter; Pillow is a second witness of the reference.
    image = picture(shape)
    op = quick(functools.partial(ops.crop_resize, out_size=out))
    for top, left, height, width in BOXES:
        ours = op(image, top, left, height, width)
        close(ours, reference.crop_resize(image, top, left, height, width, out))
        for channel in range(shape[-1]):
            plane = image[top : top + height, left : left + width, channel]
            pil = Image.fromarray(plane).resize(out[::-1], Image.Resampling.BILINEAR)
            close(ours[..., channel], np.asarray(pil))


def test_crop_of_everything_is_the_identity():
    # Catches a resize that blurs or shifts where there is nothing to do.
    image = picture((12, 8, 3))
    close(ops.crop_resize(jnp.asarray(image), 0, 0, 12, 8, (12, 8)), image, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip(shape):
    # Catches a flip up and down, and one that ignores its switch.
    image = picture(shape)
    for do in (True, False):
        close(ops.flip(jnp.asarray(image), do), reference.flip(image, do), atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends(name, shape):
    # Catches a wrong grey or mean, a missing clip, the factor on the wrong side, and
    # saturation touching a grey image.
    image = picture(shape)
    op = quick(functools.partial(ops.blend, op=getattr(ops, name.upper())))
    for factor in (0.0, 0.4, 1.0, 1.7):
        ours = op(image, factor=factor)
        close(ours, getattr(reference, name)(image, factor))


@pytest.mark.parametrize("shape", SHAPES)
def test_hue(shape):
    # Catches a wrong sextant, direction or seam at red, and NaN on grey pixels.
    image = picture(shape)
    op = quick(ops.hue)
    for shift in (-0.5, -0.2, 0.0, 0.13, 1 / 3):
        close(op(image, shift), reference.hue(image, shift))


@pytest.mark.parametrize("shape", SHAPES)
def test_jitter_in_every_order(shape):
    # Catches a sub-operation lost, done twice, or on the wrong side of hue.
    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [3, 0, 2, 1]]
    strengths = np.array([1.6, 0.5, 1.7, 0.17], np.float32)
    image = picture(shape)
    op = quick(jax.vmap(ops.jitter, in_axes=(None, None, 0)))
    ours = op(image, strengths, jnp.array(orders))
    assert np.ptp(np.asarray(ours), axis=0).max() > 0.05  # the order matters here
    for view, order in zip(ours, orders, strict=True):
        close(view, reference.jitter(image, strengths, order))


@pytest.mark.parametrize("active", [(0, 1), (0, 2, 3), (3,)])
def test_jitter_of_some(active):
    # Catches a left-out sub-operation that still acts or disturbs the others' order.
    image = picture((9, 9, 3))
    strengths = np.array([1.6, 0.5, 1.7, 0.17], np.float32)
    for order in ([1, 3, 0, 2], [2, 0, 3, 1]):
        kept = [op for op in order if op in active]
        ours = quick(ops.jitter, static_argnums=3)(
            image, strengths, jnp.array(order), active
        )
        close(ours, reference.jitter(image, strengths, kept))


@pytest.mark.parametrize("shape", SHAPES)
def test_greyscale(shape):
    # Catches a plain mean of the channels, channels dropped, a switch ignored.
    image = picture(shape)
    for do in (True, False):
        ours = ops.greyscale(jnp.asarray(image), do)
        assert ours.shape == shape
        close(ours, reference.greyscale(image, do))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("taps", [3, 7])
def test_blur(shape, taps):
    # Catches edges padded otherwise, a kernel of another length or sum, sigma taken
    # for a variance; SciPy is a second witness of the reference.
    image = picture(shape)
    op = quick(functools.partial(ops.blur, taps=taps))
    for sigma in (0.1, 0.7, 2.0):
        ours = op(image, sigma)
        close(ours, reference.blur(image, sigma, taps))
        theirs = scipy.ndimage.gaussian_filter(
            image.astype(np.float64), (sigma, sigma, 0), mode="mirror", radius=taps // 2
        )
        close(ours, theirs)


def test_length_of_the_blur():
    # Catches a kernel of even length or of another share of the image.
    sizes = (12, 20, 32, 96, 224)
    assert [A.blur_taps(size, SIMCLR.blur_span) for size in sizes] == [1, 3, 3, 9, 23]


@pytest.mark.parametrize("shape", [(14, 14, 3), (12, 16, 3), (15, 12, 1)])
def test_chain(shape):
    # Catches operations in another order, draws wired to the wrong operation, a view
    # of another size or outside [0, 1].
    draws = jax.tree.map(lambda x: x[:24], many(shape, FULL, 24))
    images = np.stack([picture(shape, seed) for seed in range(24)])
    ours = quick(jax.vmap(lambda x, d: A.apply(x, d, FULL)))(images, draws)
    assert ours.shape == images.shape and ours.min() >= 0 and ours.max() <= 1
    taps = A.blur_taps(min(shape[:2]), FULL.blur_span)
    for i, view in enumerate(ours):
        one = jax.tree.map(lambda x, i=i: x[i], draws)
        close(view, reference.chain(images[i], one, taps))


def test_float64():
    # Catches a step that falls back to float32, and views that change with x64.
    images = np.stack([picture((14, 14, 3), seed) for seed in range(4)])
    draws = many((14, 14, 3), FULL, 4)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(3), 4)
        again = quick(jax.vmap(lambda key: A.draw(key, (14, 14, 3), FULL)))(keys)
        wide = images.astype(np.float64)
        ours = quick(jax.vmap(lambda x, d: A.apply(x, d, FULL)))(wide, again)
        assert ours.dtype == jnp.float64
    jax.tree.map(np.testing.assert_array_equal, again, draws)
    for i, view in enumerate(ours):
        one = jax.tree.map(lambda x, i=i: x[i], draws)
        close(view, reference.chain(wide[i], one, 5), atol=1e-12)


@pytest.mark.parametrize("shape", [(32, 32, 3), (20, 40, 3), (12, 7, 1)])
def test_boxes(shape):
    # Catches boxes beyond the image, aspect taken upside down, area uniform in side
    # length, a corner never reached: torchvision's own sampling is the yardstick.
    h, w, _ = shape
    top, left, height, width = many(shape).box
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == h and (left + width).max() == w
    assert height.min() >= 1 and width.min() >= 1
    rng = np.random.default_rng(0)
    crop = SIMCLR.crop_area, SIMCLR.crop_aspect
    theirs = np.array([reference.random_box(rng, (h, w), *crop) for _ in range(4000)])
    ours = np.stack([top, left, height, width], axis=1)
    for f in (
        np.asarray,
        np.square,
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, :2] > 0,
    ):
        a, b = f(ours).astype(float), f(theirs).astype(float)
        error = np.sqrt((a.var(0) + b.var(0)) / 4000)
        assert (np.abs(a.mean(0) - b.mean(0)) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("size", "box"), [((10, 40), (0, 13, 10, 13)), ((40, 10), (13, 0, 13, 10))]
)
def test_central_crop_when_no_box_fits(size, box):
    # Catches a fallback to a box that does not fit, or to the whole image.
    ours = A.draw_box(jax.random.key(0), size, (0.9, 1.0), (3 / 4, 4 / 3))
    assert tuple(map(int, ours)) == box


def test_switches():
    # Catches probabilities swapped or complemented.
    draws = many(recipe=FULL)
    names = ("flip", "jitter", "grey", "blur", "solarise")
    drawn = np.stack([getattr(draws, name) for name in names])
    chances = np.array([getattr(FULL, name + "_p") for name in names])
    spread = np.sqrt(chances * (1 - chances) / drawn.shape[1])
    assert (np.abs(drawn.mean(1) - chances) < 4 * spread).all()
    assert many().blur.all() and not many(recipe=PRESETS["none"][0]).jitter.any()


def test_strengths():
    # Catches factors below 0, a range of half the width, and the
    # range of one sub-operation given to another.
    recipe = FULL._replace(brightness=0.4, contrast=1.5, saturation=0.7, hue=0.1)
    lowest, highest = np.array([[0.6, 0.0, 0.3, -0.1], [1.4, 2.5, 1.7, 0.1]])
    draws = many(recipe=recipe)
    drawn = np.concatenate([draws.strengths, draws.sigma[:, None]], axis=1)
    lowest, highest = np.append(lowest, 0.1), np.append(highest, 2.0)
    share = (drawn - lowest) / (highest - lowest)
    assert share.min() > -1e-5 and share.max() < 1 + 1e-5
    assert share.min(0).max() < 0.01 and share.max(0).min() > 0.99
    assert np.abs(share.mean(0) - 0.5).max() < 0.02


def test_order():
    # Catches one fixed order, and orders that are not equally likely.
    orders, counts = np.unique(many().order, axis=0, return_counts=True)
    assert len(orders) == 24 and (np.sort(orders) == np.arange(4)).all()
    assert np.abs(counts - 4000 / 24).max() < 4.5 * np.sqrt(4000 / 24)


def test_draws_are_independent():
    # Catches one key used for two operations: within a group (the box's sides, the
    # places of an order) numbers may hang together, between groups they may not.
    draws = many(recipe=FULL)
    box = draws.box
    groups = [
        [box.height, box.width],
        [(box.top + 0.5) / (33 - box.height)],
        [(box.left + 0.5) / (33 - box.width)],
        *[[s] for s in (draws.flip, draws.jitter, draws.grey, draws.blur)],
        [draws.solarise],
        *[[strength] for strength in draws.strengths.T],
        list(np.argsort(draws.order).T),
        [draws.sigma],
    ]
    group = np.repeat(np.arange(len(groups)), [len(members) for members in groups])
    correlation = np.abs(np.corrcoef(np.array(sum(groups, []), np.float64)))
    assert correlation[group[:, None] != group[None, :]].max() < 0.07


def test_draws_of_one_operation_leave_the_others_alone():
    # Catches draws that share a key or shift in the stream with the recipe.
    other = FULL._replace(flip_p=0.9, hue=0.0, blur_sigma=(1.0, 3.0))
    ours, theirs = many(recipe=FULL), many(recipe=other)
    for name in ("box", "jitter", "order", "grey", "blur", "solarise"):
        same = jax.tree.map(np.array_equal, getattr(ours, name), getattr(theirs, name))
        assert jax.tree.all(same), name
    np.testing.assert_array_equal(ours.strengths[:, :3], theirs.strengths[:, :3])


# Drawn before there was solarisation: box, flip, jitter, strengths, order, grey, blur,
# sigma; and the sum of four views with one of their pixels.
RECORDED = {
    "simclr": (
        [5, 8, 11, 10, 0, 0, 1.5095085, 0.68347144, 0.4377428, -0.0186882],
        [1, 2, 0, 3, 0, 1, 0.53953475],
        [2486.2861, 0.23868357, 0.276097, 0.24284169],
    ),
    "mild": (
        [1, 2, 15, 14, 0, 0, 1.2547543, 0.84173572, 1.0, 0.0],
        [1, 2, 0, 3, 0, 0, 1.0],
        [2490.3735, 0.29738036, 0.31952792, 0.09052938],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_views_are_those_of_old(name):
    # Catches an operation added in such a way that all old runs' views change.
    recipe = PRESETS[name][0]
    draws = A.draw(jax.random.key(7), (20, 20, 3), recipe)._replace(solarise=False)
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(draws)])[:-1]
    *drawn, views = RECORDED[name]
    np.testing.assert_allclose(flat, np.concatenate(drawn), rtol=1e-6)
    images = np.stack([picture((20, 20, 3), seed) for seed in range(4)])
    ours = np.asarray(run(jax.random.key(11), images, recipe))
    found = [ours.sum(dtype=np.float64), *ours[1, 3, 4]]
    np.testing.assert_allclose(found, views, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_solarise(shape):
    # Catches a threshold that is left out, and the dark values inverted; Pillow's
    # threshold of 128 is the same one on bytes.
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image[0, :2] = [[127], [128]]
    ours = ops.solarise(jnp.asarray(image / 255.0, jnp.float32), True)
    for channel in range(shape[-1]):
        pil = ImageOps.solarize(Image.fromarray(image[..., channel]), 128)
        close(ours[..., channel] * 255, np.asarray(pil), atol=1e-3)
    image = picture(shape)
    close(ops.solarise(jnp.asarray(image), False), image, atol=0)


def test_presets():
    # Catches numbers that drift from the recipes, and a pair whose views are swapped.
    one, two = PRESETS["barlow_cifar"]
    assert (one.solarise_p, two.solarise_p, one.blur_p, two.blur_p) == (0, 0.2, 0, 0)
    assert one == two._replace(solarise_p=0.0) and one.saturation == 0.2
    one, two = PRESETS["byol_imagenet"]
    assert (one.blur_p, two.blur_p, one.solarise_p, two.solarise_p) == (1, 0.1, 0, 0.2)
    weak, strong = PRESETS["simsiam_cifar"][0], PRESETS["simclr_cifar"][0]
    assert weak[4:8] == (0.4, 0.4, 0.4, 0.1) and strong[4:8] == (0.8, 0.8, 0.8, 0.2)
    assert (weak.blur_p, strong.blur_p, strong.solarise_p) == (0.5, 0.5, 0)
    assert PRESETS["vicreg_cifar"][0].crop_area == (0.2, 1.0)
    assert A.blur_taps(32, strong.blur_span) == 13  # three times sigma 2
    assert A.blur_taps(224, PRESETS["byol_imagenet"][0].blur_span) == 23
    views = {name: len(preset) for name, preset in PRESETS.items()}
    single = {name for name, n in views.items() if n == 1}
    asked = {"stolen_encoder", "rda", "rda_prototype", "dither", "frame"}
    assert single == {"none", "supervised"} | asked
    assert set(views.values()) == {1, 2}


boxes = quick(jax.vmap(A.draw_box, (0, None, None, None)), static_argnums=(1, 2, 3))


def test_presets_of_stealers():
    # Catches a crop of another area or shape, which RDA's authors call critical, and
    # colours of another recipe.
    keys = jax.random.split(jax.random.key(0), 50)
    for name, side in (("rda", 28), ("rda_prototype", 30)):
        (recipe,) = PRESETS[name]
        box = boxes(keys, (32, 32), recipe.crop_area, recipe.crop_aspect)
        assert set(box.height.tolist()) == set(box.width.tolist()) == {side}
        assert min(box.top) == min(box.left) == 0 and max(box.top) == 32 - side
        assert recipe[3:9] == (0.8, 0.4, 0.4, 0.4, 0.2, 0.2)
        assert (recipe.flip_p, recipe.blur_p, recipe.solarise_p) == (0.5, 0.1, 0.1)
        assert recipe.blur_sigma == (0.1, 2.0)
    (recipe,) = PRESETS["stolen_encoder"]
    assert recipe[2:9] == (0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2)
    assert (recipe.crop_area[0], recipe.blur_p, recipe.solarise_p) == (1, 0, 0)


run = quick(A.augment_batch, static_argnums=2)


def test_a_row_does_not_depend_on_the_batch():
    # Catches statistics over the batch, one key for all rows, and rows that change
    # with the size of the batch.
    key = jax.random.key(5)
    images = np.stack([picture((12, 12, 3), seed) for seed in range(6)])
    views = np.asarray(run(key, images, FULL))
    others = images.copy()
    others[[0, 1, 2, 4, 5]] = 0.3
    np.testing.assert_array_equal(run(key, others, FULL)[3], views[3])
    close(run(key, images[:4], FULL), views[:4], atol=1e-6)
    twins = np.asarray(run(key, np.repeat(images[:1], 6, axis=0), FULL))
    assert all(np.abs(twins[0] - twin).max() > 0.01 for twin in twins[1:])


def test_batch_is_a_loop():
    # Catches jit or vmap changing the result, and keys split in another way; the
    # loop runs without either, the batch as it does in earnest.
    images = np.stack([picture((12, 12, 3), seed) for seed in range(2)])
    keys = jax.random.split(jax.random.key(5), 2)
    views = jax.jit(A.augment_batch, static_argnums=2)(keys, images, FULL)
    close(run(jax.random.key(5), images, FULL), views, atol=2e-6)
    for key, image, view in zip(keys, images, views, strict=True):
        close(view, A.augment(key, jnp.asarray(image), FULL), atol=2e-6)


def test_bytes_and_floats():
    # Catches bytes that are not scaled, or floats that are scaled as well.
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), np.uint8)
    key = jax.random.key(1)
    floats = images.astype(np.float32) / 255
    for name in ("none", "mild"):
        ours = run(key, images, PRESETS[name][0])
        assert ours.dtype == jnp.float32
        close(ours, run(key, floats, PRESETS[name][0]), atol=1e-6)
    close(run(key, images, PRESETS["none"][0]), images / 255.0, atol=1e-7)


def primitives(recipe, shape):
    draws = jax.eval_shape(lambda key: A.draw(key, shape, recipe), jax.random.key(0))
    apply = functools.partial(A.apply, recipe=recipe)
    jaxpr = str(jax.make_jaxpr(apply)(jnp.zeros(shape), draws))
    words = {"dot_general": "crop or blur", "rev": "flip", "floor": "hue"}
    return {what for word, what in words.items() if f" {word}" in jaxpr}


def test_what_does_nothing_is_left_out():
    # Catches operations that are computed and then thrown away.
    assert primitives(SIMCLR, (20, 20, 3)) == {"crop or blur", "flip", "hue"}
    assert primitives(SIMCLR._replace(jitter_p=0.0, flip_p=0.0), (20, 20, 3)) == {
        "crop or blur"
    }
    assert primitives(PRESETS["mild"][0], (12, 12, 1)) == {"crop or blur"}
    assert primitives(SIMCLR._replace(crop_area=(1.0, 1.0)), (12, 12, 1)) == {"flip"}
    assert primitives(PRESETS["none"][0], (12, 12, 1)) == set()
