"""Thefts of one table are trained on equally many views, or the config says so."""

import pytest

from configs import default
from sslx.build import passes_of
from sslx.experiment.graph import resolve
from sslx.types import UserError
from tests import tiny

EQUAL = {"study.passes": "equal", "steal.steps": 0, "steal.passes": 25_600}
BUDGETS = (45, 90, 450, 1350)


def config(*changes, **more):
    given = EQUAL | {"study.grid": (default.thefts(*changes),)} | more
    return tiny.config(**given)


def test_budgets(tmp_path):
    # Catches a batch that shrinks to the images and takes the work with it: 45 images
    # are 569 steps and 25,605 views.
    found = resolve(config(*(f"queries={n}" for n in BUDGETS)), tmp_path)
    runs = [theft.steal for theft in found.thefts]
    assert [run.recipe["batch_size"] for run in runs] == [45, 90, 128, 128]
    for run in runs:
        assert abs(passes_of(run) - 25_600) <= run.recipe["batch_size"] / 2


@pytest.mark.parametrize(
    "passes, changes",
    [
        (-5, {}),
        (-25_600, {"steal.batch_size": 45}),
        (63, {}),  # of half a step of 128
        (22, {"steal.queries": 45}),
        (127, {"steal.attack": "stolen_encoder", "steal.loss": "own"}),
    ],
)
def test_no_work(passes, changes, tmp_path):
    # Catches a budget below 0, or of less than half a step, that trains one in silence.
    with pytest.raises(UserError, match=f"steal.passes .* not {passes}$") as error:
        resolve(config("", steal__passes=passes, **changes), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("passes, steps", [(64, 1), (128, 1), (191, 1), (193, 2)])
def test_little_work(passes, steps, tmp_path):
    # Catches half a step refused, and work rounded away.
    (theft,) = resolve(config("", steal__passes=passes), tmp_path).thefts
    assert theft.steal.recipe["steps"] == steps


ALIKE = {
    "another loss": ("", "loss=infonce"),
    "half a step of another batch": ("", "batch_size=100"),
    "two views in a step": ("", "attack=stolen_encoder loss=own"),
    "half of it before": (
        "",
        "attack=warm_start passes=12_800 ssl.passes=12_800",
    ),
    "nobody asked": ("", "attack=ssl_only loss=own ssl.passes=25_600"),
}


@pytest.mark.parametrize("changes", ALIKE.values(), ids=ALIKE)
def test_alike(changes, tmp_path):
    # Catches a check that goes by steps, by batches, or by the stealer's run alone.
    assert len(resolve(config(*changes), tmp_path).thefts) == 2


UNLIKE = {
    "another budget": ("", "queries=90"),  # 200 steps of 128, and of 90
    "another batch": ("", "batch_size=64"),
    "more steps": ("steps=201 batch_size=64", "steps=208 batch_size=64"),
    "two views in a step": ("", "attack=stolen_encoder loss=own"),
    "a network that was trained before": ("", "attack=warm_start"),
    "nobody asked": ("", "attack=ssl_only loss=own"),
}
STEPS = {"steal.passes": 0, "steal.steps": 200, "steal.ssl.steps": 200}


@pytest.mark.parametrize("changes", UNLIKE.values(), ids=UNLIKE)
def test_unlike(changes, tmp_path):
    # Catches thefts of one table of which one is trained longer; and one that is meant.
    with pytest.raises(UserError, match="views, .* on .* study.passes") as error:
        resolve(config(*changes, **STEPS), tmp_path)
    assert "\n" not in str(error.value)
    meant = STEPS | {"study.passes": "as given"}
    assert len(resolve(config(*changes, **meant), tmp_path).thefts) == 2


def test_victims_apart(tmp_path):
    # Catches thefts of two kinds of victims compared, which no table sets side by side;
    # and two seeds of one kind taken for two.
    kinds = ("victim.steps=5", "victim.steps=6 steal.passes=12_800")
    assert len(resolve(config(study__grid=(kinds,)), tmp_path).thefts) == 2
    seeds = ("seed=1", "seed=2 steal.passes=12_800")
    with pytest.raises(UserError, match="s1-.* on 25,600 views, .*s2-.* on 12,800"):
        resolve(config(study__grid=(seeds,)), tmp_path)


def test_misspelt(tmp_path):
    # Catches a word that is taken for "as given".
    with pytest.raises(UserError, match="unknown study.passes 'any'"):
        resolve(config("", study__passes="any"), tmp_path)
