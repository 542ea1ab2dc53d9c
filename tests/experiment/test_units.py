"""Numbers in another unit than the one that a key has."""

import pytest

from sslx.experiment.graph import resolve
from sslx.experiment.recipes import normalisation
from sslx.types import UserError
from tests import tiny

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
GREY = "are of grey values, 0 to 255"
NEITHER = "cannot be of images in [0, 1]"


def of(mean, std, channels=3):
    c = tiny.config(data__mean=mean, data__std=std)
    return normalisation(c, channels)


@pytest.mark.parametrize(
    "mean,std",
    [
        IMAGENET,
        CIFAR,
        ((0.1307,), (0.3081,)),  # MNIST
        ((0.0,), (1.0,)),
        ((0.5,), (0.5,)),
        ((0.5, 0.5, 0.5), (1.0,)),
        ((0.408, 0.459, 0.485), (1 / 255, 1 / 255, 1 / 255)),  # of grey values, rightly
        ((0.0,), (0.0039,)),
        ((0.0,), (0.25,)),
        ((1.0, 1.0, 1.0), (1.0,)),
        ((0.2,), (0.4,)),
    ],
)
def test_what_people_use(mean, std):
    # Catches a usual normalisation refused, or changed on the way.
    assert of(mean, std) == {"mean": list(mean), "std": list(std)}


@pytest.mark.parametrize(
    "mean,std,expected",
    [
        ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), GREY),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), GREY),
        ((33.3,), (78.6,), GREY),
        ((127.5,), (127.5,), GREY),
        ((0.0,), (255.0,), GREY),
        ((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), NEITHER),
        ((-2.118, -2.036, -1.804), (4.367, 4.464, 4.444), NEITHER),  # the way back
        ((-0.5,), (0.5,), NEITHER),
        ((32767.5,), (32767.5,), NEITHER),
        ((300.0,), (1.0,), NEITHER),
        ((0.0019, 0.0018, 0.0016), (0.0009, 0.00088, 0.00088), "divided by 255 again"),
        ((0.0,), (1e-5,), "divided by 255 again"),
        (*IMAGENET[::-1], "look exchanged: write data.mean=(0.485, 0.456, 0.406)"),
        (*CIFAR[::-1], "look exchanged"),
    ],
)
def test_other_units(mean, std, expected):
    # Catches means and deviations of grey values, of the way back, divided twice, and
    # exchanged, all of which train without a word.
    with pytest.raises(UserError) as error:
        of(mean, std)
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_the_right_numbers_are_given():
    # Catches advice that is wrong by a factor.
    with pytest.raises(UserError) as error:
        of((103.939, 116.779, 123.68), (1.0,))
    told = "data.mean=(0.4076, 0.458, 0.485) and data.std=(0.003922,)"
    assert told in str(error.value)
    of((0.4076, 0.458, 0.485), (0.003922,))


@pytest.mark.parametrize(
    "changes,expected",
    [
        ({"data__held_out": 20.0}, "data.held_out .* not 20.0; 20 % are 0.2"),
        ({"probe__few_labels": (10.0,)}, "few_labels .* not 10.0; 10 % are 0.1"),
        ({"probe__validation": 20.0}, "probe.validation .*; 20 % are 0.2"),
        ({"probe__confidence": 95.0}, "probe.confidence .*; 95 % are 0.95"),
        ({"probe__fidelity__fit": 50.0}, "fidelity.fit .*; 50 % are 0.5"),
        (
            {"steal__pool": "test", "steal__test_kept": 50.0, "steal__queries": 64},
            "steal.test_kept .*; 50 % are 0.5",
        ),
        (
            {"steal__optim__name": "sgd", "steal__optim__momentum": 90.0},
            "steal.optim.momentum must be below 1, not 90.0",
        ),
        ({"engine__patience": 0}, "engine.patience must be above 0"),
    ],
)
def test_shares_in_per_cent(tmp_path, changes, expected):
    # Catches a share in per cent taken, or refused without the way out.
    with pytest.raises(UserError, match=expected) as error:
        resolve(tiny.config(**changes), tmp_path)
    assert "\n" not in str(error.value)
