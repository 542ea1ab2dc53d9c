"""What a program reads, against a simple reading of the same.

Either the program reads what that reading gives, or it says one line that names the
place; never a traceback, never another result.
"""

import numpy as np
from hypothesis import HealthCheck, settings

from sslx import data
from sslx.types import UserError

FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class Refused(Exception):
    """What the simple reading does not take."""


def compare(name, place, expected):
    """Checks the program against ``expected()``: split -> (images, class names)."""
    try:
        wanted = expected()
    except Refused as error:
        wanted = str(error)
    try:
        info = data.describe(name)
        found = {split: data.load(name, split) for split in info.sizes}
    except UserError as error:
        line = str(error)
        assert isinstance(wanted, str), f"{line!r}, but it is fine: {wanted}"
        assert line.isprintable() and str(place) in line
        return
    assert isinstance(wanted, dict), f"{found} was read, though {wanted}"
    assert list(found) == list(wanted)
    names = sorted({label for _, labels in wanted.values() for label in labels or ()})
    assert info.classes == len(names)
    for split, (images, labels) in wanted.items():
        np.testing.assert_array_equal(found[split].images, images)
        numbers = [-1] * len(images)
        if labels is not None:
            numbers = [names.index(label) for label in labels]
        assert found[split].labels.tolist() == numbers
        assert info.sizes[split] == len(images)
