"""Records of finished runs, on runs made by hand."""

import numpy as np
import pytest

from sslx.embed import shipped
from sslx.report.aggregate import aggregate
from sslx.report.collect import collect
from sslx.report.records import Member
from sslx.runs.lineage import lineage, read_node
from sslx.runs.names import fingerprint
from sslx.types import UserError
from tests.report import fake_study as fake
from tests.report.fake_study import gathered, row_of, study


def test_a_record(tmp_path):
    # Catches another's bill or seed, a ratio to anything but the own victim, FLOPs of
    # another run, an untrained encoder of another seed.
    pairs = study(tmp_path)
    for seed in (0, 1, 7):
        fake.probe(tmp_path, None, 0.3 + seed / 100, untrained=seed)
    fake.probe(tmp_path, None, 0.2)
    records = gathered(tmp_path, pairs)
    r = row_of(records, role="stolen", theft="infonce", seed=1)
    assert (r.victim, r.run) == pairs[3]
    assert (r.queries, r.usd, r.accounts["attacker"]["images"]) == (100, 0.2, 100)
    assert (r.victim_seed, r.seed, r.scores["linear"].n_test, r.kind) == (
        *(1, 1, fake.N_TEST),
        "simclr conv3 digits",
    )
    assert r.of_victim == pytest.approx((0.60 + 0.02 - 0.1 + 0.01) / 0.82)
    assert (r.flops, r.victim_flops) == (fake.FLOPS, 2 * fake.FLOPS)
    # Victims 0 and 1 have their own seed's; 2 has none, and takes all three.
    untrained = [(u.victim_seed, u.seed) for u in records if u.role == "untrained"]
    assert sorted(untrained) == [(0, 0), (1, 1), (2, 0), (2, 1), (2, 7)]
    assert (
        row_of(records, role="pixels", victim_seed=0).scores["linear"].accuracy == 0.2
    )


def test_fidelity_and_independent_encoders(tmp_path):
    # Catches fidelity to another victim, a victim that is its own independent, an
    # independent encoder that is taken for a victim of the study.
    v, other = fake.victim(tmp_path, 0), fake.victim(tmp_path, 10)
    t = fake.steal(tmp_path, v, 0)
    judge, beside = fake.probe(tmp_path, v, 0.8), fake.probe(tmp_path, other, 0.79)
    stolen = fake.probe(tmp_path, t, 0.7)
    fake.fidelity(tmp_path, judge, stolen, cka=0.9, agreement=0.8)
    fake.fidelity(tmp_path, judge, beside, cka=0.6, agreement=0.7)
    fake.fidelity(tmp_path, beside, stolen, cka=0.1, agreement=0.1)
    fake.fidelity(tmp_path, judge, judge, cka=1.0)
    rows = aggregate(gathered(tmp_path, [(fake.key(v), fake.key(t))]))
    assert [r.role for r in rows] == ["victim", "stolen", "independent"]
    means = [{m: f.mean for m, f in row.fidelity.items()} for row in rows]
    assert means[1:] == [{"cka": 0.9, "agreement": 0.8}, {"cka": 0.6, "agreement": 0.7}]
    assert rows[2].figures["linear"].mean == 0.79


def test_victims_that_are_not_probed(tmp_path):
    # Catches a ratio to nothing: a victim that cannot be asked for the test images.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, t, 0.7)
    (record,) = gathered(tmp_path, [(fake.key(v), fake.key(t))])
    assert record.of_victim is None and [*record.scores] == ["linear", "knn"]
    (row,) = aggregate([record])
    assert row.of_victim is None and row.figures["linear"].mean == 0.7


def test_protocols_are_told_apart(tmp_path):
    # Catches figures of two data sets or protocols in one mean.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    for run, accuracy in ((v, 0.8), (t, 0.6)):
        fake.probe(tmp_path, run, accuracy)
        fake.probe(tmp_path, run, accuracy / 2, data="svhn")
    rows = aggregate(gathered(tmp_path, [(fake.key(v), fake.key(t))]))
    means = {(r.dataset, r.role): r.figures["linear"].mean for r in rows}
    assert means == {
        ("digits", "victim"): 0.8,
        ("digits", "stolen"): 0.6,
        ("svhn", "victim"): 0.4,
        ("svhn", "stolen"): 0.3,
    }


def test_seeds_are_the_encoders_own(tmp_path):
    # Catches a stolen encoder's row that bears its victim's seed.
    v = fake.victim(tmp_path, 3)
    t = fake.steal(tmp_path, v, 7)
    for of in (v, t):
        fake.probe(tmp_path, of, 0.5)
    rows = aggregate(gathered(tmp_path, [(fake.key(v), fake.key(t))]))
    assert [(r.role, r.seeds) for r in rows] == [("victim", [3]), ("stolen", [7])]


def test_flops_of_a_theft_are_those_of_all_it_trained(tmp_path):
    # Catches a warm start that comes for free, and a sum of what is not known.
    v = fake.victim(tmp_path, 0)
    own = fake.steal(tmp_path, None, 0, attack="ssl_only")
    warm = fake.steal(tmp_path, v, 0, attack="warm_start", before={"ssl": own})
    fake.probe(tmp_path, warm, 0.5)
    pairs = [(fake.key(v), fake.key(warm))]
    (record,) = gathered(tmp_path, pairs)
    assert (record.role, record.flops) == ("stolen", 2 * fake.FLOPS)
    fake.finished(tmp_path, "steal", "s0", own.recipe, {}, flops=None)
    (record,) = gathered(tmp_path, pairs)
    assert record.flops is None


SPLITS = {"data": {"tfds": {"examples": {"train": 50, "test": 10}}}}


@pytest.mark.parametrize(
    "training, work, flops",
    [
        ({"passes": 900, "recipe": SPLITS}, (50, 900), None),
        ({"passes": 900, "images": 40, "flops": 4 * fake.FLOPS}, (40, 900), 0.25),
        ({"passes": 900}, (None, 900), None),
        ({}, (None, None), None),
    ],
)
def test_a_shipped_victim_s_work_is_its_card_s(
    tmp_path, monkeypatch, training, work, flops
):
    # Catches a row of the victim that does not say what it cost and card does, FLOPs
    # that nobody noted, and the card's work for that of a theft.
    card = {"weights": "1f", "dataset": "digits", "training": training}
    monkeypatch.setattr(shipped, "_cards", lambda _: {"small": card})
    monkeypatch.setattr(shipped, "unseen", lambda name: np.empty(0))
    recipe = {"origin": "weights", "shipped": "small", "weights": "1f"}
    v = fake.finished(tmp_path, "victim", "v", {"encoder": fake.ENCODER} | recipe, {})
    t = fake.steal(tmp_path, v, 0, images=5, passes=100, shipped="small")
    fake.probe(tmp_path, v, 0.8)
    fake.probe(tmp_path, t, 0.7)
    records = gathered(tmp_path, [(fake.key(v), fake.key(t))])
    judge, theft = (row_of(records, role=role) for role in ("victim", "stolen"))
    assert (judge.images, judge.passes) == work
    assert (theft.images, theft.passes) == (5, 100)
    (row,) = (r for r in aggregate(records) if r.role == "stolen")
    assert row.flops_of_victim == flops


def test_changes_are_what_all_of_a_cell_share(tmp_path):
    # Catches a change of another cell, a theft's on its victim, and seeds as changes.
    v = fake.victim(tmp_path, 0)
    t, own = fake.steal(tmp_path, v, 0), fake.steal(tmp_path, None, 0, attack="ssl")
    for of in (v, t, own):
        fake.probe(tmp_path, of, 0.5)
    base = {"victim.steps": 9, "seed": 0}
    mse = base | {"steal.loss": "mse", "steal.queries": 100}
    members = [Member(fake.key(v), fake.key(t), mse)]
    for queries in (100, 400):  # nobody is asked: one run
        changes = base | {"steal.attack": "ssl", "steal.queries": queries}
        members.append(Member(fake.key(v), fake.key(own), changes))
    rows = aggregate(collect(lineage(tmp_path), members))
    assert [r.changes for r in rows] == [
        {"victim.steps": 9},
        {"victim.steps": 9, "steal.loss": "mse", "steal.queries": 100},
        {"victim.steps": 9, "steal.attack": "ssl"},
    ]


def test_a_victim_without_a_theft(tmp_path):
    # Catches an evaluation that needs a theft, for a victim and for one that could not
    # be asked; whose statistics an untrained network has.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, None, 0.2)
    member = [Member(fake.key(v), None, {})]
    assert [r.role for r in collect(lineage(tmp_path), member)] == ["pixels"]
    fake.probe(tmp_path, v, 0.8)
    fake.probe(tmp_path, None, 0.3, untrained=0)
    records = collect(lineage(tmp_path), member)
    assert [(r.role, r.theft) for r in records] == [
        *(("victim", None), ("untrained", "batch"), ("pixels", None)),
    ]
    with pytest.raises(UserError, match="no encoder here has a finished probe"):
        collect({fake.key(v): read_node(v.path)}, member)


def test_names_of_data_sets(tmp_path):
    # Catches the name of the place where a run has met a set, in another config.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.5)
    names = {fingerprint({"digits": {}}): "npz:elsewhere.npz"}
    (record,) = collect(lineage(tmp_path), [Member(fake.key(v), None, {})], names=names)
    assert record.dataset == "npz:elsewhere.npz"


def test_runs_of_another_sslx(tmp_path):
    # Catches a report that needs what older runs lack: bills by account, FLOPs.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, t, 0.5)
    nodes = lineage(tmp_path)
    for node in nodes.values():
        node.meta.pop("flops", None)
        node.meta.pop("accounts", None)
    (record,) = collect(nodes, fake.members([(fake.key(v), fake.key(t))]))
    assert record.accounts["attacker"]["images"] == 100
    assert record.flops is None is record.victim_flops
    nodes[fake.key(t.parents["responses"])].meta.pop("queries")
    (record,) = collect(nodes, fake.members([(fake.key(v), fake.key(t))]))
    assert (record.accounts, record.usd, record.queries) == ({}, None, 100)
