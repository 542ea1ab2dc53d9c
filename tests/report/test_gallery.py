"""The page's parts, on a gallery made by hand; the page itself: tests/test_pipeline."""

import base64
import io

import numpy as np
from PIL import Image

from sslx.report import gallery, page, pictures


def decoded(uri):
    kind, _, text = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_thumbnails():
    # Catches swapped channels, and a page that grows with the images' size.
    random = np.random.default_rng(0)
    for shape in ((12, 12, 1), (32, 20, 3)):
        image = random.integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(decoded(page.thumbnail(image)), image.squeeze())
    large = np.zeros((300, 150, 3), np.uint8)
    assert decoded(page.thumbnail(large)).shape == (64, 32, 3)


def test_gallery_by_hand():
    # Catches encoders that are swapped, shares over the wrong rows, a mark that does
    # not say whether the class agrees.
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 4, 4, 1), np.uint8)
    labels = np.repeat([3, 5], 6)
    # Rows at equal angles: the neighbours are the next ones on a half circle; the
    # stolen encoder has the last two places exchanged.
    angles = np.linspace(0, np.pi, 12)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    other = circle[[*range(10), 11, 10]]
    found = gallery._compare(
        {"victim": circle, "stolen": other}, labels, np.arange(12), seed=0
    )
    assert sorted(found["near"]["victim"][0].tolist()) == [1, 2, 3, 4, 5]
    assert found["near"]["victim"][11].tolist() == [10, 9, 8, 7, 6]
    assert found["near"]["stolen"][11].tolist() == [9, 10, 8, 7, 6]
    by_row = (labels[found["near"]["victim"]] == labels[:, None]).sum(1)
    assert found["agree"]["victim"] == by_row.sum() / 60
    same = [
        len(set(a) & set(b))
        for a, b in zip(
            *(found["near"][e].tolist() for e in found["near"]), strict=True
        )
    ]
    assert found["shared"] == sum(same) / 60 and 0.8 < found["shared"] < 1
    shown = gallery.Gallery(
        "set", images, labels, 2, False, np.array([0, 5, 11]), **found
    )
    first, middle, last = page._neighbours(shown)
    assert [first["label"], last["label"]] == [3, 5]
    assert {e["agrees"] for e in first["near"]["victim"]} == {True}
    marks = [entry["agrees"] for entry in middle["near"]["victim"]]
    assert marks == (labels[found["near"]["victim"][5]] == 3).tolist()
    assert 2 <= sum(marks) <= 3
    np.testing.assert_array_equal(decoded(last["uri"]), images[11, ..., 0])
    for encoder, rows in found["near"].items():
        for row, entry in zip(rows[11], last["near"][encoder], strict=True):
            np.testing.assert_array_equal(decoded(entry["uri"]), images[row, ..., 0])
            assert entry["agrees"] == (labels[row] == 5)


def test_one_class_image_each_and_no_more_than_asked():
    # Catches a sample that is not the seed's, or more images than a report can afford.
    labels = np.arange(3000) % 25
    rows = np.arange(0, 3000, 2)
    chosen = gallery._sample(labels, rows, 0)
    assert len(chosen) == 500 and len(set(chosen)) == 500
    assert set(chosen) <= set(rows) and len(set(labels[chosen])) == 10
    assert chosen.tolist() == gallery._sample(labels, rows, 0).tolist()
    assert chosen.tolist() != gallery._sample(labels, rows, 1).tolist()


def test_close_budgets_are_not_labelled_over_each_other():
    # Catches labels that meet on the axis of queries.
    assert pictures.budget_ticks([90, 450, 1350]) == [90, 450, 1350]
    assert pictures.budget_ticks([100, 900, 1000]) == [100, 1000]
