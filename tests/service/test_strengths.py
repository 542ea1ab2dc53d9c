"""Numbers of defences that are wrong, or that change nothing: one line each."""

import numpy as np
import pytest

from sslx.registry import traits_of
from sslx.service import DEFENCES, make_defence
from sslx.service.defences.b4b import noise_at
from sslx.service.defences.near_duplicates import NEAREST, near_duplicates
from sslx.service.defences.saliency import LEAST, mixed
from sslx.service.defences.units import moves
from sslx.types import UserError
from tests.service.defended import NUMBERS, POOL, gradient, key_of, request_of

NAN, INF = float("nan"), float("inf")
# Defence, number, values that change nothing, values next to them that do.
NOTHING = [
    ("noise", "sd", (1e-9, 1e-30, 1e-290), (1e-6, 1000.0)),
    ("round", "step", (1e-9, 1e-30, 1e-290), (1e-6, 1000.0)),
    ("b4b", "noise", (1e-9, 1e-30, 1e-290), (0.02, 1000.0)),
    ("b4b", "start", (1e-101, 1e-300, 5e-324), (1e-99, 0.9)),
    ("coverage_ratio", "noise", (1e-9, 1e-30, 1e-290), (1e-6, 1000.0)),
    ("coverage_ratio", "allowed", (16.0, 1e9, 1e300), (15.9, 2.0)),
    ("coverage_ratio", "start", (2.0**24 + 1, 1e12, 1e300), (2.0**24, 1e3)),
    ("near_duplicates", "similarity", (1 - 1e-12, 1 - 1e-5, NEAREST), (0.9999, 1e-3)),
    ("proof_of_work", "doubling", (11.0, 1e12, 1e300), (9.0, 1e-6)),
    ("proof_of_work", "sd", (1e-4, 1e-300, 1001.0, 1e12), (1e-3, 1000.0)),
    ("proof_of_work", "most", (3.0, 3.5, 3 + 1e-9), (4.0, 64.0)),
    ("saliency", "blur", (1e-5, 1e-9, 1e-300), (1e-3, 1.0)),
]
TOO_MUCH = [("noise", "sd"), ("round", "step"), ("b4b", "noise")]
TOO_MUCH += [("coverage_ratio", "noise")]


def refused(names, numbers, says):
    with pytest.raises(UserError, match=says) as error:
        make_defence(names, numbers)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "key", "small", "fine"), NOTHING)
def test_a_strength_that_changes_nothing(name, key, small, fine):
    # A defence that stands in a report and does nothing; bounds that refuse what works.
    for value in small:
        numbers = {name: NUMBERS[name] | {key: value}}
        if (name, key) == ("b4b", "noise"):
            numbers[name]["start"] = 0.9 * value
        refused([name], numbers, rf"^service.defence_kw.{name}.{key} ")
    for value in fine:
        make_defence([name], {name: NUMBERS[name] | {key: value}})


@pytest.mark.parametrize("value", [1001.0, 1e30, 1e300, INF])
@pytest.mark.parametrize(("name", "key"), TOO_MUCH)
def test_a_strength_beyond_all_answers(name, key, value):
    # Answers that overflow in the middle of a call.
    numbers = {name: NUMBERS[name] | {key: value}}
    refused([name], numbers, rf"^service.defence_kw.{name}.{key} ")


@pytest.mark.parametrize("value", [0.0, -1.0, -1e-9, NAN, INF, None])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_above_0_and_finite(name, value):
    # Numbers that a config would not let through and whoever calls make_defence could:
    # noise of a negative curve, comparisons with NaN that are all false.
    for key, usual in NUMBERS[name].items():
        may_be_0 = key in traits_of(DEFENCES[name]).may_be_0
        if isinstance(usual, bool | str) or (may_be_0 and value == 0):
            continue
        says = rf"^service.defence_kw.{name}.{key} must be above 0, not {value}"
        refused([name], {name: NUMBERS[name] | {key: value}}, says)


def test_no_noise_and_no_transform():
    # A defence that does nothing.
    none = NUMBERS["b4b"] | {"noise": 0.0}
    refused(["b4b"], {"b4b": none}, "^service.defence_kw.b4b.noise is 0, and .*trans")
    make_defence(["b4b"], {"b4b": none | {"transform": "dense"}})


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "^service.defence names none; 'none' is a defence"),
        ((), "^service.defence names none"),
        ("", "^service.defence names none"),
        (["noise", "noise"], r"^service.defence names one twice: noise\+noise$"),
        (["round", "noise", "round"], "^service.defence names one twice: round"),
        (["none", "none"], "^service.defence names one twice"),
    ],
)
def test_names_that_are_none_or_twice(names, says):
    # Two that are taken for one, and none at all.
    refused(names, NUMBERS, says)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_block_that_lacks_or_has_more(name):
    # A TypeError of a function that nobody called by name.
    where = rf"^service.defence_kw.{name} must hold .*, not "
    refused([name], {}, where + "nothing$")
    refused([name], {name: NUMBERS[name] | {"speed": 1.0}}, where + ".*speed")
    refused([name], {name: {"speed": 1.0}}, where + "speed$")
    refused(["top_k_reference"], {"top_k_reference": {"k": 5}}, "hold nothing, not k$")


def test_what_is_refused_changes_nothing():
    # Bounds that are no bounds: below them nothing moves, above them something does.
    random = np.random.default_rng(0)
    hard = 255 * random.integers(0, 2, (9, 12, 12, 1), np.uint8)
    hard[0], hard[0, 5, 5], hard[1], hard[1, 5, 5] = 0, 255, 255, 0
    everywhere = np.full(hard.shape[:3], True)
    assert (mixed(hard, everywhere, 0.98 * LEAST) == hard).all()
    assert (mixed(hard, everywhere, LEAST) != hard).any()

    coverage = np.array([100.0])
    (sd,) = noise_at(coverage, start=1e-100, noise=0.5, knee=100.0)
    assert sd == pytest.approx(0.5)
    (sd,) = noise_at(coverage, start=1e-300, noise=0.5, knee=100.0)
    assert sd < 1e-30

    one = np.float32(1)
    moves("noise", "sd", least := float(np.finfo(np.float32).eps))
    assert one + np.float32(least) > one == one + np.float32(least / 2)


def test_the_nearest_that_is_told_from_a_repeat():
    # A bound that lies above the cosine of answers that one plane parts.
    raw = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    raw = np.repeat(raw, 2, axis=0)
    raw[1::2] *= 1 + np.random.default_rng(2).normal(size=(200, 3)) * 0.004
    found = [
        near_duplicates(similarity=s).apply({"key": key_of(1)}, request_of(raw))
        for s in (0.99 * NEAREST, NEAREST - 1e-9)
    ]
    for similarity, (answers, _, _, notes) in zip((0.99, 1), found, strict=True):
        replaced = (answers != raw).any(axis=1)
        assert (replaced == (notes["nearest"] > similarity * NEAREST - 1e-9)).all()
    assert set(np.unique(found[1][3]["nearest"])) >= {NEAREST, 1.0}


def test_a_blur_is_refused_at_images_that_it_leaves_alone():
    # A share of a side that is fine for large images and nothing for small ones.
    defence = DEFENCES["saliency"](blur=0.1)
    with pytest.raises(UserError, match="saliency.blur is 0.1, 0.2 pixels .* of 2, "):
        defence.before({}, POOL, gradient)
    large = np.tile(POOL, (1, 2, 1, 1))
    defence.before({}, large, lambda score, images: np.ones(images.shape))
