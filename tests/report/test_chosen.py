"""Which settings are chosen, from runs made by hand."""

import json

import numpy as np
import pytest

from configs import default
from sslx.experiment.graph import resolve
from sslx.program import run as launch
from sslx.report.chosen import choices
from sslx.report.records import Member
from sslx.report.write import write
from sslx.runs.lineage import lineage
from tests import tiny
from tests.report import fake_study as fake

RATE = "steal.optim.learning_rate"


def theft(workdir, of, rate, value, *, seed=0, measure="distance", linear=0.5, **more):
    """A stealer and its probe; the member that it is of."""
    judged = (measure, value, 45)
    made = fake.steal(
        workdir, of, seed, judged=judged, optim={"learning_rate": rate}, **more
    )
    fake.probe(workdir, made, linear)
    return Member(of and fake.key(of), fake.key(made), {RATE: rate, "seed": seed})


@pytest.mark.parametrize(
    "measure, best", [("distance", 1e-3), ("simclr loss", 1e-3), ("agreement", 4e-3)]
)
def test_chosen_by_what_was_held_back(tmp_path, measure, best):
    # Catches a choice by test figures, and one of the greatest distance.
    v = fake.victim(tmp_path, 0)
    members = [
        theft(tmp_path, v, rate, value, measure=measure, linear=linear)
        for rate, value, linear in (
            (2e-3, 0.3, 0.9),
            (1e-3, 0.2, 0.1),
            (4e-3, 0.6, 0.1),
            (8e-3, None, 0.95),  # cannot be compared
        )
    ]
    (choice,) = choices(lineage(tmp_path), members)
    assert choice.best.changes == {RATE: best}
    assert [s.changes[RATE] for s in choice.compared] == [2e-3, 1e-3, 4e-3, 8e-3]
    assert (choice.measure, choice.queries) == (measure, 100)


def test_what_is_compared(tmp_path):
    # Catches thefts of several losses, budgets or victims in one choice, a loss at
    # another temperature, and a choice of one setting.
    v, w = fake.victim(tmp_path, 0), fake.victim(tmp_path, 0, objective="moco")
    alone = {"attack": "ssl_only", "measure": "simclr loss"}
    at = [{"held_back": {"share": 0.1, "temperature": t}} for t in (0.2, 0.5)]
    kinds = [
        (v, {}),
        (v, {"loss": "infonce"}),
        (v, {"queries": 400}),
        (w, {}),
        (v, {"attack": "mine:THEFT", "measure": "agreement"}),
        (None, alone | at[0]),
        (None, alone | at[1]),
    ]
    members = [
        theft(tmp_path, of, rate, value, **more)
        for of, more in kinds
        for rate, value in ((1e-3, 0.5), (2e-3, 0.4))
    ]
    members.append(theft(tmp_path, v, 1e-3, 0.1, loss="barlow"))
    found = choices(lineage(tmp_path), members)
    assert [len(choice.compared) for choice in found] == [2] * len(kinds)
    assert choices(lineage(tmp_path), []) == []


@pytest.mark.parametrize(
    "passes, compared, apart",
    [
        ((25_600, 25_600, 25_600), 3, 0),
        ((25_600, 25_620, 24_576), 3, 0),  # half a step of another batch
        ((25_600, 25_600, 12_000), 2, 1),
        ((15_000, 25_600, 25_600), 2, 1),
        ((25_600, 25_600, 128_000), 2, 0),  # beside it on purpose
        ((None, None, None), 3, 0),
    ],
)
def test_what_is_alone_is_not_lost(tmp_path, passes, compared, apart):
    # Catches a setting that is out of the choice, without a word, for a batch whose
    # passes come out otherwise; and one of other work that is compared.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.9)
    members = [theft(tmp_path, v, 1e-3, 0.9)]
    for i, work in enumerate(passes):
        more = {"attack": "ssl_only", "measure": "simclr loss", "asked": {}}
        more |= {"images": 45, "passes": work, "batch_size": 8 + i}
        one = theft(tmp_path, None, 1e-3 * (i + 1), 0.5 - i / 10, **more)
        members.append(one._replace(victim=fake.key(v)))
    nodes = lineage(tmp_path)
    (choice,) = choices(nodes, members)
    assert (len(choice.compared), len(choice.apart)) == (compared, apart)
    write(tmp_path / "out", nodes, members, title="t")
    text = (tmp_path / "out" / "report.md").read_text()
    words = f"settings of {choice.cell}, for other passes: "
    assert (words in text) == (apart > 0)
    assert all(f"{words}{key}." in text for key in choice.apart)


def test_seeds_together(tmp_path):
    # Catches the luckiest seed, and a setting that has but one.
    v = fake.victim(tmp_path, 0)
    members = [
        theft(tmp_path, v, rate, value, seed=seed)
        for rate, seed, value in (
            *((1e-3, 0, 0.1), (1e-3, 1, 0.9)),
            *((2e-3, 0, 0.3), (2e-3, 1, 0.4)),
            (4e-3, 0, 0.01),
        )
    ]
    (choice,) = choices(lineage(tmp_path), members)
    assert choice.best.changes == {RATE: 2e-3}
    assert choice.best.value == pytest.approx(0.35)
    assert len(choice.best.runs) == 2


@pytest.mark.parametrize("held", [True, False])
def test_on_the_page(tmp_path, held):
    # Catches a section where nothing was held back, a page without the choice, and
    # one that does not say what test images make of it.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.8)
    members = [
        theft(tmp_path, v, rate, value, linear=linear)
        for rate, value, linear in ((2e-3, 0.3, 0.6), (1e-3, 0.2, 0.4))
    ]
    nodes = lineage(tmp_path)
    if not held:
        for node in nodes.values():
            node.meta.pop("held_back", None)
    write(tmp_path / "out", nodes, members, title="t")
    found = json.loads((tmp_path / "out" / "results.json").read_text())["chosen"]
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert ("Chosen on held-back answers" in text) is held
    if not held:
        assert found == []
        return
    assert found[0]["best"]["changes"] == {RATE: 1e-3}
    assert [s["value"] for s in found[0]["compared"]] == [0.3, 0.2]
    lines = [line for line in text.splitlines() if "learning_rate=0.001" in line]
    assert lines[-1].split("|")[-3:-1] == [" chosen ", " 40.0 "]


@pytest.mark.slow
def test_from_config_to_choice(tmp_path):
    # Catches a criterion that no training writes down, and one that a choice does not
    # find; a head that cannot be made with fewer images.
    head = "attack=recreate_head loss=infonce ask_views=2 ask_augment=mild"
    thefts = {
        "": "distance",
        "optim.learning_rate=0.004": "distance",
        head: "distance",
        "attack=label_theft loss=own service.output=label": "agreement",
        "attack=ssl_only loss=own ssl.images=asked": "simclr loss",
    }
    c = tiny.config(study__grid=(default.thefts(*thefts),), steal__passes=1280)
    c.steal.steps, c.steal.held_back.share = 0, 0.2
    c.steal.ssl.augment, c.steal.ssl.passes, c.steal.head.passes = "mild", 640, 640
    c.stages = ("victim", "steal")
    launch(c, tmp_path)
    made, nodes = resolve(c, tmp_path).members, lineage(tmp_path)
    told = [nodes[m.theft.steal.key].meta["held_back"] for m in made]
    assert [one["measure"] for one in told] == list(thefts.values())
    assert all(np.isfinite(one["value"]) and one["images"] > 1 for one in told)
    members = [Member(m.victim.key, m.theft.steal.key, m.changes) for m in made]
    (choice,) = choices(nodes, members)
    best = min(told[:2], key=lambda one: one["value"])
    assert choice.best.value == best["value"]
    assert [s.changes for s in choice.compared] == [{}, {RATE: 4e-3}]
