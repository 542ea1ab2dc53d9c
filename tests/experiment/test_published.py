"""Figures of others beside ours."""

import pytest

from configs import study_icml2022
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.runs.files import read_json
from sslx.types import Published, UserError
from tests import tiny

SAME = Published("digits", "digits", "mse", 300, 0.95, 0.9, "a test")
# Of another loss, budget, data set, victim.
OTHERS = (
    SAME._replace(loss="infonce"),
    SAME._replace(queries=299),
    SAME._replace(dataset="cifar10"),
    SAME._replace(data="cifar10"),
)


def test_a_report_is_named_after_what_it_puts_beside(tmp_path):
    # Catches figures that change a run other than the report, and a report that is
    # taken for the one without.
    plain, beside = (
        resolve(tiny.config(study__published=rows), tmp_path)
        for rows in ((), (SAME, *OTHERS))
    )
    assert [run.key for run in plain.goals] == [run.key for run in beside.goals]
    assert plain.report.name != beside.report.name
    assert "published" not in plain.report.recipe
    assert beside.report.recipe["published"][0] == SAME._asdict()


@pytest.mark.parametrize(
    "row, words",
    [
        (("digits", "mse"), "must hold tuples of data, dataset, loss"),
        ("digits", "must hold tuples"),
        (SAME._replace(source=3), "must hold tuples"),
        (
            SAME._replace(queries=9e3),
            "queries must be a whole number above 0, not 9000",
        ),
        (SAME._replace(victim=79.0), "victim .* not 79.0; 79 % are 0.79"),
        (SAME._replace(copy=0), "copy must lie between 0 and 1"),
    ],
)
def test_what_is_no_published_row(row, words, tmp_path):
    # Catches per cent taken for a share, a row with a field left out.
    with pytest.raises(UserError, match=words):
        resolve(tiny.config(study__published=(row,)), tmp_path)


def test_the_study_s_figures():
    # Catches a figure that drifts from its source, and one that has none.
    found = [row[:-1] for row in study_icml2022.PUBLISHED]
    assert found == [
        ("cifar10", "cifar10", "softnn", 9_000, 0.790, 0.769),
        ("imagenet2012", "fashion_mnist", "infonce", 200_000, 0.919, 0.905),
    ]
    assert all(row.source for row in study_icml2022.PUBLISHED)
    for size, (_, dataset, loss, queries, *_) in zip(
        ("full", "imagenet"), study_icml2022.PUBLISHED, strict=True
    ):
        c = study_icml2022.get_config(size)  # runs its row
        assert dataset in c.probe.datasets
        assert (c.steal.loss, c.steal.queries) == (loss, queries)
        assert c.study.published == study_icml2022.PUBLISHED


@pytest.mark.slow
def test_published_beside_measured(tmp_path):
    # Catches a figure of ours beside one of another loss, budget, data set or victim,
    # and a row that was not run passed over in silence.
    c = tiny.config(study__published=(SAME, *OTHERS), probe__reference=True)
    folder = launch(c, tmp_path)
    found = read_json(folder / "results.json")
    first, *others = found["published"]
    (ours,) = first["ours"]
    assert ours["kind"].split()[:3] == ["simclr", "conv3", "digits"]
    for role, key in (("victim", "victims"), ("stolen", "copies")):
        rows = [row for row in found["rows"] if row["role"] == role]
        measured = {row["evaluator"]: row["accuracy"] for row in rows}
        names = ("linear", "reference_probe")
        assert ours[key] == {name: measured[name] for name in names}
    assert [other["ours"] for other in others] == [[]] * len(OTHERS)
    text = (folder / "report.md").read_text("utf-8")
    assert "Beside published figures" in text and text.count("not run") == len(OTHERS)
