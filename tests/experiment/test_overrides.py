import pytest

from configs import default
from sslx.experiment.overrides import changed, combinations
from sslx.types import UserError
from tests import tiny


def test_changes():
    # Catches keys taken relative to the wrong section, values that are left text, and a
    # config changed in place.
    c = tiny.config()
    grid, values = changed(c, "seed=3 steal.queries=90 victim.objective=barlow")
    assert (grid.seed, grid.steal.queries, grid.victim.objective) == (3, 90, "barlow")
    assert values == {"seed": 3, "steal.queries": 90, "victim.objective": "barlow"}
    assert (c.steal.queries, c.seed, c.victim.objective) == (300, 0, "simclr")
    assert changed(c, "")[1] == {}


def test_thefts_in_short():
    # Catches keys of the section steal that lose their section, or those of the service
    # that get a second one.
    change = "queries=90 service.output=label loss_kw.infonce.temperature=2"
    same, other = default.thefts("", change)
    assert same == ""
    also, values = changed(tiny.config(), other)
    assert (also.steal.queries, also.service.output) == (90, "label")
    assert also.steal.loss_kw.infonce.temperature == 2.0
    assert values["steal.loss_kw.infonce.temperature"] == 2.0


def test_combinations():
    # Catches an axis left out, one that another overwrites, a combination made twice.
    assert combinations((("a=1", "a=2"), ("b=1",))) == ["a=1 b=1", "a=2 b=1"]
    assert combinations((("", "a=2"), ("b=1",))) == ["b=1", "a=2 b=1"]
    assert combinations((("a=1", "a=1"),)) == ["a=1"]
    assert combinations(()) == [""]  # the config as it is
    with pytest.raises(UserError, match="sets a twice"):
        combinations((("a=1",), ("b=1 a=2",)))
    with pytest.raises(UserError, match="must hold a tuple of changes for each axis"):
        combinations(("a=1",))
    with pytest.raises(UserError, match="an axis without a change"):
        combinations(((),))


@pytest.mark.parametrize(
    "change,message",
    [
        ("steal.queries", "'steal.queries' is not KEY=VALUE with a whole key"),
        ("queries=90", "'queries=90' is not KEY=VALUE with a whole key"),
        ("=90", "'=90' is not KEY=VALUE"),
        ("victim.objectiv=x", "'victim.objectiv=x' is not KEY=VALUE"),
        ("steal.also=x", "'steal.also=x' is not KEY=VALUE"),
        ("steal.optim=x", "'steal.optim=x' is not KEY=VALUE"),
        ("steal.queries.x=1", "'steal.queries.x=1' is not KEY=VALUE"),
        ("steal.queries=1.5", "'steal.queries=1.5' is not of type int"),
        ("steal.queries=90 steal.queries=91", "sets steal.queries twice"),
        ("engine.keep=3", "'engine.keep=3' is not KEY=VALUE"),
        ("study.name=x", "'study.name=x' is not KEY=VALUE"),
        ("stages=x", "'stages=x' is not KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    # Catches a misspelt or forbidden key that changes nothing, a value of another type.
    with pytest.raises(UserError, match=message):
        changed(tiny.config(), change)
