"""The attacker alone: the same images, the same work, and no answer."""

import numpy as np
import pytest

from sslx import context
from sslx.build import passes_of
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.progress import say_once
from sslx.queries.plan import make_plan
from sslx.report.write import members_of
from sslx.runs.files import read_json
from sslx.stages import answers
from sslx.types import UserError
from tests import tiny

ALONE = ("asked", "pool", "asked:5")


def config(**changes):
    given = {"steal.alone": ALONE, "steal.passes": 25600, "steal.steps": 0}
    return tiny.config(**(given | {"victim.steps": 4} | changes))


THEFTS = {
    "direct": {},
    "few images": {"steal.queries": 60, "steal.batch_size": 128},
    "two passes": {"steal.attack": "stolen_encoder", "steal.loss": "own"},
    "views": {
        "steal.attack": "rda",
        "steal.loss": "own",
        "steal.ask_views": 2,
        "steal.ask_augment": "mild",
    },
    "trained before": {
        "steal.attack": "warm_start",
        "steal.passes": 12800,
        "steal.ssl.passes": 12800,
    },
}


@pytest.mark.parametrize("changes", THEFTS.values(), ids=THEFTS)
def test_equal_passes(tmp_path, changes):
    # Catches thefts of one table that are trained longer than others, a budget whose
    # batch shrinks to its images and its work with it, views that are not counted.
    (theft,) = resolve(config(**changes), tmp_path).thefts
    runs = [theft.steal, *(r for k, r in theft.steal.parents.items() if k == "ssl")]
    total = sum(map(passes_of, runs))
    assert total == pytest.approx(25600, rel=0.05)
    asked, pool, more = theft.alone
    for run, times in ((asked, 1), (pool, 1), (more, 5)):
        assert passes_of(run) == pytest.approx(times * total, rel=0.05)
    images = changes.get("steal.queries", 300) // changes.get("steal.ask_views", 1)
    assert asked.recipe["asked"]["images"] == more.recipe["asked"]["images"] == images
    assert "asked" not in pool.recipe


def test_thefts_share_what_stands_beside_them(tmp_path):
    # Catches a training for each loss, and five times the work beside every budget.
    grid = (
        ("steal.loss=mse", "steal.loss=infonce"),
        ("steal.queries=300", "steal.queries=90"),
    )
    found = resolve(config(study__grid=grid), tmp_path)
    alone = {run.key for theft in found.thefts for run in theft.alone}
    assert len(alone) == 4  # asked twice, pool, and five times as much once


def test_a_budget_of_the_whole_pool(tmp_path, capsys):
    # Catches the same images trained on twice, in silence; a pool that is left out
    # beside a smaller budget, or where nothing stands for it.
    pool = resolve(config(), tmp_path).thefts[0].pool.size
    views = {"steal.attack": "rda", "steal.loss": "own", "steal.ask_augment": "mild"}
    for changes, left in (
        ({"steal.queries": pool}, ["asked", "asked:5"]),
        ({"steal.queries": pool - 1}, list(ALONE)),
        ({"steal.queries": pool, "steal.alone": ("pool",)}, ["pool"]),
        ({"steal.queries": pool, "steal.alone": ("pool:5", "asked")}, None),
        ({"steal.queries": 2 * pool, "steal.ask_views": 2} | views, ["asked"] * 2),
        ({"steal.queries": pool, "steal.ask_views": 2} | views, list(ALONE)),
    ):
        say_once.cache_clear()
        capsys.readouterr()
        (theft,) = resolve(config(**changes), tmp_path).thefts
        told = capsys.readouterr().err
        own = ["asked" if "asked" in run.recipe else "pool" for run in theft.alone]
        wanted = ["pool", "asked"] if left is None else left
        assert own == [entry.partition(":")[0] for entry in wanted]
        out = left is not None and "pool" not in left
        assert ("steal.alone='pool' is left out" in told) is out
        assert told.count("\n") == out


def test_what_cannot_stand_beside_a_theft(tmp_path):
    # Catches a word on keys that were not touched, without the way out.
    short = {"steal.passes": 0, "steal.steps": 1, "steal.ssl.batch_size": 300}
    with pytest.raises(UserError, match="^steal.alone='asked': steal.ssl.passes") as e:
        resolve(config(**short), tmp_path)
    assert str(e.value).endswith("; or leave it out of steal.alone")
    assert len(resolve(config(steal__alone=(), **short), tmp_path).thefts) == 1


def test_a_report_has_what_is_alone_beside_its_members(tmp_path):
    # Catches what stands alone counted among the combinations of the grid, or missing
    # from what the report is on.
    grid = (("steal.loss=mse", "steal.loss=infonce"), ("seed=0", "seed=1"))
    r = resolve(config(study__grid=grid), tmp_path).report.recipe
    assert [m["changes"]["steal.loss"] for m in r["members"]] == [
        *("mse", "mse", "infonce", "infonce")
    ]
    assert {len(m["changes"]) for m in r["alone"]} == {1}  # its seed
    assert len({m["theft"] for m in r["alone"]}) == 2 * len(ALONE)
    found = members_of(r)
    assert {m.theft for m in found} == {
        m["theft"] for m in [*r["members"], *r["alone"]]
    }
    without = resolve(config(steal__alone=()), tmp_path).report.recipe
    assert "alone" not in without and len(members_of(without)) == 1


def test_plan_that_looks_at_features(tmp_path):
    # Catches other images than those that are asked.
    (theft,) = resolve(
        config(steal__plan="kmeans", steal__plan_kw__kmeans__clusters=5), tmp_path
    ).thefts
    assert theft.alone[0].parents["asked"] == theft.responses
    with pytest.raises(UserError, match="must know what is asked"):
        resolve(
            config(
                steal__plan="kmeans",
                steal__attack="ssl_only",
                steal__loss="own",
                steal__ssl__images="asked",
            ),
            tmp_path,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steal.rounds": 3},
        {"steal.queries": 31, "steal.rounds": 7, "seed": 5},
        {"steal.queries": 1350, "steal.rounds": 2},
        {"steal.ask_views": 2, "steal.ask_augment": "mild", "steal.rounds": 4}
        | {"steal.attack": "rda", "steal.loss": "own"},
        {"steal.seed": 8, "steal.accounts": 2, "steal.rounds": 2},
    ],
)
def test_the_images_are_those_of_the_plan(changes, tmp_path):
    # Catches as many other images of the pool, or a round that draws from those of the
    # rounds before, in a training that stands for what was asked.
    found = resolve(config(**changes), tmp_path)
    (theft,) = found.thefts
    run, pool = theft.responses, context.pool(theft.responses.recipe, found.context)
    images, plan = pool.load(), make_plan(run.recipe)
    run.path.mkdir(parents=True)
    for round_ in range(len(plan.rounds)):
        answers._choose(run, plan, round_, images, lambda: images)
    stored = [np.load(run.path / f"plan-{i}.npy") for i in range(len(plan.rounds))]
    rows, own = answers.unanswered(theft.alone[0], found.context)
    np.testing.assert_array_equal(rows, np.concatenate(stored))
    np.testing.assert_array_equal(own, images[rows])
    assert len(np.unique(rows)) == len(rows) == theft.alone[0].recipe["asked"]["images"]
    for alone in theft.alone:
        if "asked" not in alone.recipe:
            whole, _ = answers.unanswered(alone, found.context)
            np.testing.assert_array_equal(whole, np.arange(len(images)))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steal.alone": ("asks",)}, "unknown steal.alone 'asks'"),
        ({"steal.alone": ("asked:0",)}, "asked:5"),
        ({"steal.steps": 5}, "both say how long"),
        ({"steal.ssl.images": "all"}, "unknown steal.ssl.images"),
    ],
)
def test_what_cannot_be(tmp_path, changes, words):
    # Catches a misspelt entry that is passed over, and two lengths of one training.
    changes = {"steal.attack": "warm_start", "steal.ssl.steps": 2} | changes
    with pytest.raises(UserError, match=words):
        resolve(config(**changes), tmp_path)


@pytest.mark.slow
def test_images_asked_and_gain_on_the_page(tmp_path):
    # Catches a gain over other work or as many images, rows of several budgets in one.
    grid = (("steal.queries=300", "steal.queries=90"), ("seed=0", "seed=1"))
    c = config(study__grid=grid, steal__passes=2560)
    found = read_json(launch(c, tmp_path) / "results.json")
    rows = [row for row in found["rows"] if row["evaluator"] == "linear"]
    alone = [row for row in rows if row["role"] == "alone"]
    work = sorted((row["theft"], row["images"], row["passes"] // 2500) for row in alone)
    assert work == [
        ("asked", 90, 1),
        ("asked", 300, 1),
        ("asked", 300, 5),
        ("pool", 1350, 1),
    ]
    by_images = {r["images"]: r["accuracy"] for r in alone if r["passes"] < 3000}
    for row in rows:
        if row["role"] == "stolen":
            gap = row["accuracy"] - by_images[row["images"]]
            assert row["gain"]["mean"] == pytest.approx(gap)
            assert row["gain"]["low"] < row["gain"]["mean"] < row["gain"]["high"]
