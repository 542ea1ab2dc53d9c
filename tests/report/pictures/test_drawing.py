"""What pictures share."""

from sslx.report.pictures.drawing import budget_ticks


def test_close_budgets_are_not_labelled_over_each_other():
    # Catches labels that meet on the axis of queries.
    assert budget_ticks([90, 450, 1350]) == [90, 450, 1350]
    assert budget_ticks([100, 900, 1000]) == [100, 1000]
