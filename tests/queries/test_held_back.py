"""Which images are held back."""

import numpy as np
import pytest

from sslx.queries.held_back import count_of, divided
from sslx.rng import host_stream
from sslx.types import UserError

COPIES = np.repeat(np.arange(50), 3)  # three images of each original


def some(pool, n, seed=5):
    return np.random.default_rng(seed).permutation(pool)[:n]


@pytest.mark.parametrize(
    "ids", [np.arange(150), COPIES, COPIES % 25], ids=("each", "three", "six")
)
@pytest.mark.parametrize("n, share", [(150, 0.1), (90, 0.2), (61, 0.5)])
def test_two_parts(ids, n, share):
    # Catches an image in both parts, a training on more or fewer images than the
    # recipe says, and an original that is trained on and judges.
    rows = some(150, n)
    kept, held = divided(3, ids, rows, share)
    assert len(kept) == n - count_of(share, n)
    assert 0 < len(held) <= count_of(share, n)
    assert not set(kept) & set(held)
    assert not set(ids[rows[kept]]) & set(ids[rows[held]])
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()
    if ids is COPIES and n == 150:
        assert len(held) == 15


def test_drawn_from_the_seed_alone():
    # Catches images that depend on what is asked, on its order or on the plan's stream.
    ids = np.arange(400)
    whole = set(divided(3, ids, ids, 0.2).held)
    assert whole != set(divided(4, ids, ids, 0.2).held)
    for seed in (0, 1, 2):
        rows = some(400, 100, seed)
        held = set(rows[divided(3, ids, rows, 0.2).held])
        # The first in one order: nearly all of them are held back from the pool, too.
        assert len(held - whole) <= 10
        again = rows[::-1]
        assert held == set(again[divided(3, ids, again, 0.2).held])
    plan = set(host_stream(3, "plan").permutation(400)[:80])
    assert len(whole & plan) < 40


def test_nothing_held_back_and_too_little():
    # Catches images lost where nothing is held back, and a judge without an image.
    kept, held = divided(0, COPIES, np.arange(150), 0.0)
    assert len(kept) == 150 and not len(held)
    with pytest.raises(UserError, match="a larger share"):
        divided(0, COPIES, np.arange(150), 0.01)
