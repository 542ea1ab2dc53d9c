"""A thief of several accounts: what they were answered, and what he makes of it."""

import numpy as np
import pytest

from sslx.attacks.cleaning import CLEANERS, Answered, Help
from sslx.queries.plan import images_of, make_plan
from sslx.runs.names import make_run
from sslx.service import make_defence
from sslx.service.bills import LEDGER
from sslx.stages.answers import accounts_of, anchors_of
from tests.service.box import DIM, pictures
from tests.service.defended import NUMBERS, ready

# Of b4b: transforms alone.
QUIET = {"noise": 0.0}


@pytest.mark.parametrize(
    "transform, accounts, anchors, views, call_size",
    [
        ("diagonal", 2, 20, 1, 16),
        ("diagonal", 3, 7, 2, 5),
        ("dense", 3, 30, 1, 9),
        ("orthogonal", 2, DIM, 1, 30),
    ],
)
def test_accounts_are_brought_together(
    tmp_path, transform, accounts, anchors, views, call_size
):
    # Catches accounts that are swapped, anchors of another image, a map the wrong way
    # round, an account that does not pay for its anchors.
    recipe = {"queries": 120, "views": views, "accounts": accounts, "rounds": 1}
    recipe |= {"anchors": anchors, "call_size": call_size}
    n = images_of(recipe)
    recipe["queries"] = (n + anchors * (accounts - 1)) * views
    run = make_run(tmp_path, "responses", "r", recipe, {})
    plan = make_plan(recipe)
    images = pictures(n * views)
    asked = images.reshape(n, views, *images.shape[1:])
    run.path.mkdir(parents=True)
    numbers = NUMBERS["b4b"] | QUIET | {"transform": transform}
    defence = make_defence(["b4b"], {"b4b": numbers})
    service = ready(run.path / LEDGER, defence)
    got = np.empty((n * views, DIM), np.float32)
    for call in reversed(plan.calls):  # an anchor's is the first account's
        got[call.queries] = service.query(call.account, images[call.queries], call.name)
    sent = sum(service.counters(name).images for name in plan.accounts)
    true = service.query(plan.accounts[0], images, "all")
    service.close()
    assert sent == recipe["queries"]
    found = Answered(np.arange(n), asked[:, 0], asked, got.reshape(n, views, DIM))
    anchored = anchors_of(run, asked)
    assert anchored.shape == (accounts, anchors * views, DIM)
    own = Help(accounts_of(run), anchored, *[None] * 4)
    done = CLEANERS["maps"](found, own, kind=transform).answers.reshape(-1, DIM)
    scale = true.std()
    assert np.abs(got - true).max() > 0.4 * scale
    assert np.abs(done - true).max() < 0.05 * scale
