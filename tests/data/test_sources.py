"""What holds for every source, a user's own included."""

import numpy as np
import pytest

from sslx import data
from sslx.data.source import Info, Source, Split
from sslx.types import UserError

N = 6


@pytest.fixture
def own(monkeypatch):
    """A source of one's own: an array of images, one of labels, and what it says."""

    def make(images, labels, classes=2, shape=None, splits=("train", "test")):
        info = Info({"own": 1}, "own", shape or images.shape[1:], classes, {})
        sizes = dict.fromkeys(splits, N)
        source = Source(
            find=lambda rest, options: None,
            describe=lambda rest, options: info._replace(sizes=sizes),
            load=lambda rest, split, options: Split(images, labels),
            ids=lambda rest, split, options: np.arange(N),
        )
        monkeypatch.setitem(data.SOURCES, "own", source)
        return "own:"

    return make


def pixels(*shape, dtype=np.uint8):
    return np.arange(N * int(np.prod(shape))).reshape(N, *shape).astype(dtype)


@pytest.mark.parametrize("labels", [np.arange(N) % 2, np.arange(N)[:, None] % 2.0])
def test_what_is_taken(own, labels):
    # Catches labels of 64 bits or a column passed on as they are.
    found = data.load(own(pixels(3, 4, 3), labels), "train")
    assert found.labels.dtype == np.int32 and found.images.dtype == np.uint8
    assert found.labels.tolist() == [0, 1] * 3
    assert not found.labels.flags.writeable and not found.images.flags.writeable


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (pixels(3, 5, 5), np.zeros(N), r"own:: images are of .*moveaxis"),
        (pixels(5, 5, 4), np.zeros(N), r"own:: images are of shape \(5, 5, 4\)"),
        (pixels(0, 5, 3), np.zeros(N), r"own:: images are of shape \(0, 5, 3\)"),
        (
            pixels(5, 5, 3) / 255,
            np.zeros(N),
            r"images of (test|train) must be uint8.*images \*",
        ),
        (
            pixels(5, 5, 3),
            np.zeros(N - 1),
            r"labels of (test|train) must be .*shape \(6,\)",
        ),
        (
            pixels(5, 5, 3),
            np.full(N, 2**32),
            "labels of (test|train) must be numbers from 0 to",
        ),
        (pixels(5, 5, 3), np.full(N, -1), "labels of (test|train) must be 0 or more"),
        (
            pixels(5, 5, 3),
            np.array(["a"] * N),
            "labels of (test|train) must be numbers from 0",
        ),
    ],
)
@pytest.mark.parametrize("channels", [0, 3])
def test_what_is_refused(own, images, labels, message, channels):
    # Catches one source that is looked at and another that is not, and a form asked
    # for that hides what the images are.
    name, options = own(images, labels), data.Options(channels=channels)
    with pytest.raises(UserError, match=message) as error:
        data.describe(name, options)
        data.load(name, "test", options)
    assert str(error.value).isprintable()


def test_mixed_sizes(own):
    # Catches a source that leaves open what only data.size settles.
    name = own(pixels(5, 5, 3), np.zeros(N), shape=(None, None, 3))
    with pytest.raises(UserError, match="own: has images of mixed size .*data.size"):
        data.describe(name)
    assert data.describe(name, data.Options(size=4)).image_shape == (4, 4, 3)


def test_sets_without_labels_or_test(own):
    # Catches labels that look like classes, and a KeyError.
    name = own(pixels(5, 5, 1), np.zeros(0), classes=0, splits=("train",))
    assert data.load(name, "train").labels.tolist() == [-1] * N
    with pytest.raises(
        UserError, match="own: has no test split, only train: it serves"
    ):
        data.load(name, "test")
    with pytest.raises(UserError, match="unknown split 'val'"):
        data.load(name, "val")
