import pytest

from sslx.experiment.changes import ALSO, GRID, changed
from sslx.types import UserError
from tests import tiny


def test_both_notations():
    # Catches keys taken relative to the wrong section, and a config changed in place.
    c = tiny.config()
    also = changed(c, "queries=90 service.output=label loss_kw.infonce.temperature=2")
    assert (also.steal.queries, also.service.output) == (90, "label")
    assert also.steal.loss_kw.infonce.temperature == 2.0
    grid = changed(c, "seed=3 steal.queries=90 victim.objective=barlow", GRID)
    assert (grid.seed, grid.steal.queries, grid.victim.objective) == (3, 90, "barlow")
    assert (c.steal.queries, c.seed, c.victim.objective) == (300, 0, "simclr")


@pytest.mark.parametrize(
    "change,entry,message",
    [
        ("queries", ALSO, "'queries' is not KEY=VALUE with a key of the steal"),
        ("victim.objective=x", ALSO, "'victim.objective=x' is not KEY=VALUE"),
        ("also=x", ALSO, "'also=x' is not KEY=VALUE"),
        ("optim=x", ALSO, "'optim=x' is not KEY=VALUE"),
        ("queries=1.5", ALSO, "'queries=1.5' is not of type int"),
        ("queries=90 queries=91", ALSO, "sets queries twice"),
        ("queries=90", GRID, "'queries=90' is not KEY=VALUE with a whole key"),
        ("steal.also=x", GRID, "'steal.also=x' is not KEY=VALUE"),
        ("engine.keep=3", GRID, "'engine.keep=3' is not KEY=VALUE"),
        ("study.name=x", GRID, "'study.name=x' is not KEY=VALUE"),
        ("stages=x", GRID, "'stages=x' is not KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said(change, entry, message):
    # Catches a misspelt or forbidden key that changes nothing, a value of another type.
    with pytest.raises(UserError, match=message):
        changed(tiny.config(), change, entry)
