import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sslx
from sslx import data
from sslx.attacks.matching import bind, loss_numbers, match_of, takes_labels
from sslx.experiment.experiment import resolve
from sslx.experiment.thefts import Cell
from sslx.losses import LOSSES
from sslx.runs.files import is_finished, read_json
from sslx.runs.names import Run
from sslx.stages import steal, together
from sslx.stages.together import _apart, groups, train_together
from sslx.types import UserError
from tests import tiny

RECIPE = {
    "seed": 0,
    "attack": "direct",
    "attack_numbers": {"train_on": "asked", "weight": 1.0, "hidden": 3},
    "image_shape": [8, 8, 1],
    "loss": "infonce",
    "numbers": {"temperature": 0.1, "labels": 10},
    "mean": [0.0],
    "augment": [{"flip_p": 0.5}],
    "optim": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "warmup_steps": 0},
    "batch_size": 16,
    "steps": 10,
}
ASKED = {"views": 1, "dim": 8, "classes": 0, "queries": 50, "seed": 0}


def cell(tmp_path, parents=(), asked=(), **changes):
    """A theft whose recipe differs from the base in keys with __ for a block's."""
    recipe = json.loads(json.dumps(RECIPE))
    for key, value in changes.items():
        *path, last = key.split("__")
        (recipe[path[0]] if path else recipe)[last] = value
    responses = Run(tmp_path, "responses", "r", ASKED | dict(asked), {})
    above = {"responses": responses} | {role: responses for role in parents}
    name = json.dumps([recipe, dict(asked), sorted(above)])
    steal = Run(tmp_path, "steal", name, recipe, above)
    return Cell("direct", "infonce", 50, "p", "", responses, None, None, steal)


JOIN = [
    {"seed": 2**32 - 1},
    {"numbers__temperature": 0.5},
    {"attack_numbers__weight": 2.0},
    {"optim__learning_rate": 0.3},
    {"optim__momentum": 0.5},
    {"asked": {"queries": 40, "seed": 1}},  # another budget, as many steps
]
APART = [
    {"numbers__labels": 5},  # clusters of answers, made on the host
    {"attack_numbers__hidden": 4},
    {"attack_numbers__train_on": "images"},
    {"optim__warmup_steps": 2},
    {"optim__name": "adam"},
    {"loss": "softnn"},
    {"mean": [0.5]},
    {"augment": [{"flip_p": 0.1}]},
    {"batch_size": 8},
    {"steps": 20},
    {"asked": {"views": 2}},
    {"asked": {"dim": 9}},
    {"asked": {"classes": 3}},
    {"parents": ("ssl",)},
]


@pytest.mark.parametrize("change", JOIN)
def test_what_trains_together(tmp_path, change):
    # Catches groups that fall apart over what is only a number.
    assert len(groups([cell(tmp_path), cell(tmp_path, **change)], 8)) == 1


@pytest.mark.parametrize("change", APART)
def test_what_does_not(tmp_path, change):
    # Catches a member that would be trained by another one's recipe or shapes.
    assert len(groups([cell(tmp_path), cell(tmp_path, **change)], 8)) == 2


def test_groups_follow_from_the_cells_alone(tmp_path):
    # Catches a run twice in a group, groups above the size asked for, an order of its
    # own, a theft without answers in a group, and what is finished looked at.
    seeds = [cell(tmp_path, seed=i) for i in range(5)]
    other = cell(tmp_path, steps=20)
    unasked = other._replace(responses=None)
    cells = [seeds[0], other, *seeds, unasked, seeds[1]]
    found = groups([c for c in cells if c is not unasked], 3)
    assert found == [seeds[:3], seeds[3:], [other]]
    alone = cell(tmp_path, seed=9)._replace(responses=None)
    assert groups([seeds[0], alone, seeds[1]], 8) == [seeds[:2], [alone]]
    assert groups(seeds, 1) == [[c] for c in seeds]
    with pytest.raises(UserError, match="together must be 0 or more"):
        groups(seeds, -1)


def test_as_measured(tmp_path, monkeypatch):
    # Catches vmap on a CPU, where convolutions that differ in weights are slow.
    seeds = [cell(tmp_path, seed=i) for i in range(9)]
    assert [len(g) for g in groups(seeds, 0)] == [1] * 9
    monkeypatch.setattr(together, "on_cpu", lambda: False)
    assert [len(g) for g in groups(seeds, 0)] == [8, 1]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_traced(float64, loss):
    # Catches a loss that asks Python about a number, thresholds of another member's
    # answers, and numbers that are bound on the host.
    random = np.random.RandomState(0)
    answers = random.uniform(size=(3, 4, 2, 5))  # three members
    student = jnp.asarray(random.uniform(size=(4, 2, 5)))
    labels = jnp.array([0, 1, 0, 1], jnp.int32) if takes_labels(loss) else None
    given = []
    for i in range(3):
        numbers = {name: 0.2 + 0.1 * i for name in loss_numbers(loss) - {"labels"}}
        more = {"labels": 2} if takes_labels(loss) else {}
        given.append({"bound": bind(loss, numbers | more, answers[i])})
    recipe = {part: {} for part in together.NUMBERS}
    apart = [_apart(recipe, each) for each in given]
    assert all(static == {} for _, static in apart)
    own = jax.tree.map(lambda *x: np.stack(x), *[mine for mine, _ in apart])

    def value(own, answers):
        return match_of(loss, own["given"].get("bound", {}))(student, answers, labels)

    found, _ = jax.jit(jax.vmap(value))(own, answers)
    for i in range(3):
        single, _ = match_of(loss, given[i]["bound"])(
            student, jnp.asarray(answers[i]), labels
        )
        np.testing.assert_allclose(found[i], single, rtol=1e-9)
    if loss_numbers(loss) - {"labels"}:
        assert len(set(np.asarray(found).round(9).tolist())) == 3


def of(experiment, tmp_path, name, *rates):
    """Thefts by InfoNCE of the finished experiment that differ in rate; its copy."""
    change = "loss=infonce loss_kw.infonce.temperature=0.3 optim.name=sgd"
    also = tuple(f"{change} optim.learning_rate={rate}" for rate in rates)
    config = tiny.config(steal__also=also)
    workdir = shutil.copytree(experiment, tmp_path / name)
    return resolve(config, workdir).cells[1:], config


def test_a_group_ends_as_single_runs(tmp_path, experiment):
    # Catches runs that no later stage opens, numbers that stay behind on the way from
    # the recipes, a rate too high that costs the others, or is told of none.
    cells, config = of(experiment, tmp_path, "group", 0.1, 0.2, 1e30)
    assert groups(cells, 4) == [cells]
    failed = rf"steal/{cells[2].steal.name}: step.*learning rate"
    with pytest.raises(UserError, match=failed):
        train_together(cells, [config] * 3)
    assert [is_finished(c.steal) for c in cells] == [True, True, False]
    singles, _ = of(experiment, tmp_path, "single", 0.1, 0.2)
    images = data.load("digits", "test").images[:20]
    ended = []
    for ours, theirs in zip(cells, singles, strict=False):
        steal.train(theirs, config)
        a, b = (sslx.open_run(c.steal.path) for c in (ours, theirs))
        np.testing.assert_allclose(a.embed(images), b.embed(images), atol=1e-4)
        assert len(a.metrics) == len(b.metrics)
        metas = [read_json(c.steal.path / "meta.json") for c in (ours, theirs)]
        assert metas[0].keys() == metas[1].keys()
        assert metas[0]["weights"]["step"] == metas[1]["weights"]["step"]
        ended.append(a.embed(images))
    assert np.abs(ended[0] - ended[1]).max() > 1e-3
    train_together(cells[:2], [config] * 2)  # finished before
