"""What a config that holds images back asks for."""

import pytest

from sslx.build import passes_of
from sslx.experiment.graph import resolve
from sslx.runs.names import with_ancestors
from sslx.types import UserError
from tests import tiny

VIEWS = {"steal.ask_views": 2, "steal.ask_augment": "mild"}
THEFTS = {
    "direct": {},
    "few": {"steal.queries": 60},
    "trained before": {"steal.attack": "warm_start", "steal.ssl.passes": 5120},
    "head": {"steal.attack": "recreate_head", "steal.loss": "infonce"} | VIEWS,
    "views": {"steal.attack": "rda", "steal.loss": "own"} | VIEWS,
    "labels": {
        "steal.attack": "label_theft",
        "steal.loss": "own",
        "service.output": "label",
    },
    "alone": {
        "steal.attack": "ssl_only",
        "steal.loss": "own",
        "steal.ssl.images": "asked",
        "steal.ssl.passes": 5120,
    },
}


def runs(tmp_path, changes, **more):
    given = {"steal.passes": 5120, "steal.steps": 0, "steal.ssl.augment": "mild"}
    c = tiny.config(**(given | changes), **more)
    made = resolve(c, tmp_path)
    return {run.key: run for run in with_ancestors(made.goals) if "optim" in run.recipe}


@pytest.mark.parametrize("changes", THEFTS.values(), ids=THEFTS)
def test_nothing_held_back_is_as_ever(tmp_path, changes):
    # Catches a key that names runs anew where it changes nothing.
    held = {"temperature": 0.5, "augment": "simclr"}
    found = runs(tmp_path, changes, steal__held_back=held | {"share": 0.0})
    assert found.keys() == runs(tmp_path, changes).keys()
    assert not any("held_back" in run.recipe for run in found.values())


@pytest.mark.parametrize("changes", THEFTS.values(), ids=THEFTS)
def test_passes_are_kept(tmp_path, changes):
    # Catches work that shrinks with the images, a training that has images which judge
    # another, and a run that has its old name with fewer images.
    whole = runs(tmp_path, changes)
    part = runs(tmp_path, changes, steal__held_back__share=0.5)
    assert len(whole) == len(part)
    for one, other in zip(whole.values(), part.values(), strict=True):
        if one.stage == "victim":
            assert one == other
            continue
        assert one.key != other.key
        assert other.recipe["held_back"]["share"] == 0.5
        asked = one.recipe.get("asked", {"images": None})["images"]
        assert other.recipe.get("asked", {"images": None})["images"] == asked
        n = passes_of(one)
        if n is not None:
            assert passes_of(other) == pytest.approx(n, rel=0.03)
    if changes is THEFTS["few"]:
        assert min(run.recipe["batch_size"] for run in part.values()) == 30


def test_the_criterion_of_what_asks_nothing_is_in_its_name(tmp_path):
    # Catches a loss at another temperature or on other views under the same name.
    base = {"share": 0.2, "temperature": 0.2, "augment": "mild"}
    changes = THEFTS["alone"]
    names = {
        name
        for more in ({}, {"temperature": 0.5}, {"augment": "simclr"}, {"share": 0.3})
        for name in runs(tmp_path, changes, steal__held_back=base | more)
        if name.startswith("steal")
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steal.held_back.share": 1.0}, "held_back.share must lie between 0 and 1"),
        ({"steal.held_back.share": -0.1}, "held_back.share must lie between 0 and 1"),
        ({"steal.held_back.share": 0.004}, "leaves 1 to judge by and 299 to train on"),
        ({"steal.held_back.share": 0.999}, "leaves 300 to judge by and 0 to train on"),
        (
            THEFTS["alone"]
            | {"steal.held_back.share": 0.1, "steal.held_back.augment": "none"},
            "held_back.augment='none' makes 1 view",
        ),
        (
            THEFTS["alone"]
            | {"steal.held_back.share": 0.1, "steal.held_back.temperature": 0.0},
            "held_back.temperature must be above 0",
        ),
    ],
)
def test_what_cannot_be(tmp_path, changes, words):
    # Catches a judge without images, and a criterion that fails after hours.
    with pytest.raises(UserError, match=words):
        runs(tmp_path, changes)


OWN = """
from sslx.attacks import Attack
from sslx.attacks.copying import copying, make_student, through, over_views
from sslx.attacks.label_theft import label_theft


def loss(student, answer):
    return ((student - answer) ** 2).mean(), {}


def nameless(encoder, views, theft):
    return copying(make_student(encoder, theft), through(views, "asked"), theft,
                   over_views(loss))


NAMELESS = Attack(nameless, ("label", "representation"), takes_loss=False)
NAMED = Attack(label_theft, ("label",), takes_loss=False)
"""


def test_an_attack_of_ones_own(tmp_path, monkeypatch):
    # Catches an attack on classes that has no classifier to judge, found when it ends;
    # and one that is refused though it has.
    (tmp_path / "held_back_own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, output, good in (
        ("NAMED", "label", True),
        ("NAMELESS", "representation", True),
        ("NAMELESS", "label", False),
    ):
        changes = {
            "steal.attack": f"held_back_own:{name}",
            "steal.loss": "own",
            "service.output": output,
            "steal.held_back.share": 0.1,
        }
        if good:
            assert runs(tmp_path, changes)
        else:
            with pytest.raises(UserError, match="has none in params"):
                runs(tmp_path, changes)
