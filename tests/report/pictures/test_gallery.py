"""Thumbnails, neighbours and maps, on a gallery made by hand."""

import base64
import io

import numpy as np
from PIL import Image

from sslx.report.aggregate import aggregate
from sslx.report.pictures import gallery
from sslx.report.pictures.drawing import styles
from sslx.runs.lineage import lineage
from tests.report import fake_study as fake


def decoded(uri):
    kind, _, text = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_thumbnails():
    # Catches swapped channels, and a page that grows with the images' size.
    random = np.random.default_rng(0)
    for shape in ((12, 12, 1), (32, 20, 3)):
        image = random.integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(
            decoded(gallery.thumbnail(image)), image.squeeze()
        )
    large = np.zeros((300, 150, 3), np.uint8)
    assert decoded(gallery.thumbnail(large)).shape == (64, 32, 3)


def test_gallery_by_hand(tmp_path):
    # Catches encoders that are swapped, another gallery than the headline's, a mark
    # that does not say whether the class agrees, maps on two scales.
    v, w = fake.victim(tmp_path, 0), fake.victim(tmp_path, 1)
    thefts = [fake.steal(tmp_path, of, 0) for of in (v, w)]
    members = fake.members(
        [(fake.key(of), fake.key(t)) for of, t in zip((v, w), thefts, strict=True)]
    )
    assert gallery.find(lineage(tmp_path), members) is None
    runs = [fake.gallery(tmp_path, *member[:2]) for member in reversed(members)]
    node = gallery.find(lineage(tmp_path), members)
    assert node.key == fake.key(runs[1])
    alone = [members[0]._replace(theft=None)]
    assert gallery.find(lineage(tmp_path), alone) is None
    shown = gallery.read(node)
    arrays = np.load(runs[1].path / "gallery.npz")
    images, labels = arrays["images"], arrays["labels"]
    assert (shown.classes, shown.copies, shown.shared) == (2, False, 0.5)
    assert shown.agree == {"victim": 0.75, "stolen": 0.25}
    first, last = gallery.neighbours(shown)
    assert [first["label"], last["label"]] == [3, 5]
    np.testing.assert_array_equal(decoded(last["uri"]), images[6, ..., 0])
    marks = set()
    for encoder in ("victim", "stolen"):
        rows = arrays[f"near_{encoder}"][6]
        assert len(last["near"][encoder]) == len(rows) == 2
        for row, entry in zip(rows, last["near"][encoder], strict=True):
            np.testing.assert_array_equal(decoded(entry["uri"]), images[row, ..., 0])
            assert entry["agrees"] == (labels[row] == 5)
            marks.add(entry["agrees"])
    assert marks == {True, False}
    drawn = gallery.maps(shown)
    assert [p.file for p in drawn] == ["map-victim.png", "map-stolen.png"]
    spans = [np.diff(p.figure.axes[0].get_xlim()) for p in drawn]
    np.testing.assert_allclose(*spans)
    for picture, encoder in zip(drawn, ("victim", "stolen"), strict=True):
        parts = [c.get_offsets() for c in picture.figure.axes[0].collections]
        np.testing.assert_allclose(np.concatenate(parts), arrays[f"map_{encoder}"])


def test_curves(tmp_path):
    # Catches curves of another run, a victim from elsewhere that is drawn without a
    # log, a budget that cannot be told from another.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.8)
    pairs = []
    for queries in (100, 400):
        t = fake.steal(tmp_path, v, 0, queries=queries)
        fake.probe(tmp_path, t, 0.5)
        pairs.append((fake.key(v), fake.key(t)))
        log = t.path / "metrics.jsonl"
        log.write_text(
            f'{{"step": 1, "loss": 9.0}}\n{{"step": 5, "loss": {queries}.5}}'
        )
    records = fake.gathered(tmp_path, pairs)
    drawn = gallery.curves(lineage(tmp_path), records, styles(aggregate(records)))
    assert drawn.alt == ("Training against step: stealer, mse ends at 100, 400 (loss)")
    few, many = drawn.figure.axes[0].lines
    assert [*few.get_ydata()] == [9.0, 100.5] and few.get_alpha() < many.get_alpha()
    for t in pairs:
        (tmp_path / t[1] / "metrics.jsonl").unlink()
    assert gallery.curves(lineage(tmp_path), records, {}) is None
