import math

import pytest
from ml_collections import ConfigDict

from sslx.experiment.recipes import numbers
from sslx.registry import traits
from sslx.types import UserError


@traits(may_be_0=("weight",), at_most_1=("share",))
def entry(*, weight, share, temperature):
    """Of a table."""


GOOD = {"weight": 0, "share": 1.0, "temperature": 1e-3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "loss entry.temperature must be above 0, not 0"),
        ({"share": 0.0}, "loss entry.share must be above 0, not 0.0"),
        ({"share": 1.5}, "loss entry.share must be 1 at most, not 1.5"),
        ({"weight": -1}, "loss entry.weight must be above 0, not -1"),
        ({"weight": math.nan}, "loss entry.weight must be above 0, not nan"),
    ],
)
def test_numbers_lie_in_the_ranges_beside_an_entry(change, message):
    # Catches a range that is not looked at, and one of another number.
    def read(block):
        return numbers({"entry": entry}, "entry", ConfigDict({"entry": block}), "loss")

    assert read(GOOD) == GOOD
    with pytest.raises(UserError, match=message):
        read(GOOD | change)
