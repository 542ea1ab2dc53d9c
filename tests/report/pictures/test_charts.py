"""What is drawn, on runs made by hand."""

import pytest

from sslx.report.aggregate import aggregate
from sslx.report.pictures.charts import draw
from sslx.report.pictures.drawing import styles
from sslx.report.pictures.gallery import curves
from tests.report import fake_study as fake


def drawn(workdir, pairs):
    records = fake.gathered(workdir, pairs)
    rows = aggregate(records)
    return {p.file: p for p in draw(rows, records, styles(rows), "linear")}


def test_every_encoder_has_its_mark(tmp_path):
    # Catches a bar for each budget, a point of another theft, a level that is drawn as
    # a theft, a shortened name.
    _, pairs = fake.grid(tmp_path)
    found = drawn(tmp_path, pairs)
    (axes,) = found["accuracy0.png"].figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        *("victim", "mse\n400 queries", "infonce\n400 queries", "pool"),
        *("untrained", "pixels"),
    ]
    widths = [bar.get_width() for bar in axes.patches]
    # Means of seeds 0 and 1, in per cent.
    assert widths == pytest.approx([81, 72.5, 77.5, 50, 40, 30])
    (axes,) = found["queries0.png"].figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["mse"].get_ydata() == pytest.approx([65, 72.5])
    assert [*lines["mse"].get_xdata()] == [100, 400]
    assert lines["victim"].get_ydata() == pytest.approx([81, 81])
    assert lines["pool"].get_linestyle() == ":"
    left, right = found["cost0.png"].figure.axes, found["fidelity0.png"].figure.axes
    paid = {line.get_label(): line for line in left[0].lines}
    assert paid["infonce"].get_xdata() == pytest.approx([0.2, 0.8])
    assert [axes.get_xlabel() for axes in right] == [
        "agreement of probes",
        "linear CKA",
    ]


def test_one_budget_and_seed_need_one_picture(tmp_path):
    # Catches lines over a single budget, and a ratio that says what the bars say.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    for of in (v, t):
        fake.probe(tmp_path, of, 0.5)
    pairs = [(fake.key(v), fake.key(t))]
    assert [*drawn(tmp_path, pairs)] == ["accuracy0.png"]
    assert curves(fake.lineage(tmp_path), fake.gathered(tmp_path, pairs), {}) is None
