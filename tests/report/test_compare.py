"""Paired comparisons, on runs made by hand."""

import math

import pytest

from sslx.embed import shipped
from sslx.report.aggregate import aggregate
from sslx.report.compare import beside_published, differences, nearness
from tests.report import fake_study as fake
from tests.report.fake_study import gathered, study


def test_paired_differences(tmp_path):
    # Catches an unpaired test, a sign, Holm over one budget only. mse - infonce: 0.1,
    # 0.09, 0.08: mean 0.09, deviation 0.01, t = 0.09 / (0.01 / sqrt 3) = 15.588,
    # p = 1 - t / sqrt(t^2 + 2) for 2 degrees of freedom; half 4.302653 * 0.0057735.
    pairs = study(tmp_path)
    (row,) = differences(gathered(tmp_path, pairs))
    t = 0.09 / (0.01 / math.sqrt(3))
    p = 1 - t / math.sqrt(t * t + 2)
    assert (row.n, row.queries) == (3, 100)
    sign = 1 if row.a == "mse" else -1
    assert {row.a, row.b} == {"mse", "infonce"}
    assert sign * row.difference == pytest.approx(0.09)
    assert row.high - row.low == pytest.approx(2 * 0.0248414, abs=1e-6)
    assert row.p == row.holm == pytest.approx(p, rel=1e-6)


def test_holm_over_all_of_a_data_set(tmp_path):
    # Catches a family of one budget, thefts of different budgets compared, ssl_only
    # compared at one budget only, or standing first.
    victims = []
    for seed in (0, 1, 2):
        v = fake.victim(tmp_path, seed)
        victims.append(v)
        fake.probe(tmp_path, v, 0.8)
    pairs = []

    def add(of, seed, accuracy, **more):
        t = fake.steal(tmp_path, of and victims[seed], seed, **more)
        fake.probe(tmp_path, t, accuracy)
        pairs.append((fake.key(victims[seed]), fake.key(t)))

    for seed, wobble in enumerate((0.0, 0.01, -0.02)):
        add(None, seed, 0.5 + wobble, attack="ssl_only")
        for queries in (100, 400):
            add(True, seed, 0.6, loss="mse", queries=queries)
            add(
                True,
                seed,
                0.55 + wobble * queries / 300,
                loss="cosine",
                queries=queries,
            )
    found = differences(gathered(tmp_path, pairs))
    told = [(r.queries, {r.a, r.b}) for r in found]
    both = [{"mse", "pool"}, {"cosine", "pool"}, {"mse", "cosine"}]
    assert len(told) == 6
    assert all((q, pair) in told for q in (100, 400) for pair in both)
    assert {r.b for r in found if "pool" in (r.a, r.b)} == {"pool"}
    smallest = min(found, key=lambda r: r.p)
    assert smallest.holm == pytest.approx(6 * smallest.p)


def test_no_test_without_pairs(tmp_path):
    # Catches a p-value of one pair, and thefts of other victims or seeds compared.
    v, w = fake.victim(tmp_path, 0), fake.victim(tmp_path, 1)
    fake.probe(tmp_path, v, 0.8)
    a = fake.steal(tmp_path, v, 0, loss="mse")
    b = fake.steal(tmp_path, v, 0, loss="cosine")
    c = fake.steal(tmp_path, w, 1, loss="energy")
    pairs = []
    more = fake.steal(tmp_path, v, 5, loss="mse")  # a seed that the other lacks
    for run, of, accuracy in ((a, v, 0.6), (more, v, 0.9), (b, v, 0.5), (c, w, 0.4)):
        fake.probe(tmp_path, run, accuracy)
        pairs.append((fake.key(of), fake.key(run)))
    (row,) = differences(gathered(tmp_path, pairs))
    assert {row.a, row.b} == {"mse", "cosine"}
    assert abs(row.difference) == pytest.approx(0.1)
    assert (row.n, row.low, row.p, row.holm) == (1, None, None, None)


def test_what_asks_nothing_is_told_apart(tmp_path):
    # Catches a theft compared with a training on other images, or with one of two that
    # differ in passes alone; those compared with each other.
    pairs = []
    for seed in (0, 1):
        v = fake.victim(tmp_path, seed)
        fake.probe(tmp_path, v, 0.9)
        work = {"images": 100, "passes": 1000}
        runs = [(fake.steal(tmp_path, v, seed, **work), 0.8 + seed / 100)]
        for n, passes, less in ((100, 1000, 0.1), (100, 5000, 0.02), (40, 1000, 0.3)):
            work = {"images": n, "passes": passes, "steps": n + passes}
            run = fake.steal(tmp_path, None, seed, attack="ssl_only", asked={}, **work)
            runs.append((run, 0.8 - less))
        work = {"images": 900, "passes": 1000}
        runs.append((fake.steal(tmp_path, None, seed, attack="ssl_only", **work), 0.7))
        for run, accuracy in runs:
            fake.probe(tmp_path, run, accuracy)
            pairs.append((fake.key(v), fake.key(run)))
    found = {row.b: row.difference for row in differences(gathered(tmp_path, pairs))}
    assert found == {
        "asked, 100 images, 1000 passes": pytest.approx(0.105),
        "asked, 100 images, 5000 passes": pytest.approx(0.025),
        "pool, 900 images, 1000 passes": pytest.approx(0.105),
    }


@pytest.mark.parametrize(
    "theft, alone, with_it",
    [
        ({}, {"asked": {}}, "asked"),
        ({}, {}, "pool"),  # of as many images
        ({"plan": "kmeans"}, {"asked": {}}, None),  # others, as many
        ({"plan": "kmeans"}, {}, "pool"),
        ({}, {"asked": {}, "pool": {"cifar100": {}}}, None),
        ({}, {"pool": {"cifar100": {}}}, None),
        ({}, {"asked": {}, "encoder": {"name": "mlp", "kw": {}}}, None),
    ],
)
def test_as_many_images_are_not_the_same_images(theft, alone, with_it, tmp_path):
    # Catches a theft compared with a training on another pool, on other images of it or
    # of another network, for their number is the same; a gain over the whole pool.
    pairs, work = [], {"images": 100, "passes": 1000}
    for seed in (0, 1):
        v = fake.victim(tmp_path, seed)
        fake.probe(tmp_path, v, 0.9)
        runs = [
            (fake.steal(tmp_path, v, seed, **theft, **work), 0.8),
            (fake.steal(tmp_path, None, seed, attack="ssl_only", **alone, **work), 0.7),
        ]
        for run, accuracy in runs:
            fake.probe(tmp_path, run, accuracy)
            pairs.append((fake.key(v), fake.key(run)))
    records = gathered(tmp_path, pairs)
    found = [row.b.partition(",")[0] for row in differences(records)]
    assert found == ([with_it] if with_it else [])
    (row,) = (row for row in aggregate(records) if row.role == "stolen")
    assert (row.gain is not None) == (with_it == "asked")


def near(workdir, copies, others, seeds=(0, 1, 2), **more):
    """Victims with a theft (linear_l2 of ``copies``) and two that nobody stole."""
    pairs, free = [], [fake.victim(workdir, seed) for seed in (7, 8)]
    probes = [fake.probe(workdir, run, 0.8) for run in free]
    for i, seed in enumerate(seeds):
        v = fake.victim(workdir, seed)
        judge = fake.probe(workdir, v, 0.9)
        for loss, values in copies.items():
            t = fake.steal(workdir, v, seed, loss=loss)
            own = {m: x[0] for m, x in more.items()}
            p = fake.probe(workdir, t, 0.7)
            fake.fidelity(workdir, judge, p, linear_l2=values[i], **own)
            pairs.append((fake.key(v), fake.key(t)))
        for probe, less in zip(probes, (0.05, -0.05), strict=True):
            own = {m: x[1] for m, x in more.items()}
            value = others[i] + less
            fake.fidelity(workdir, judge, probe, linear_l2=value, **own)
    return pairs


def test_nearer_than_what_nobody_stole(tmp_path):
    # Catches a distance read as a likeness, an unpaired test, independents that count
    # as so many victims, a family that is not corrected, a measure that is hidden.
    copies = {"mse": (0.3, 0.31, 0.32), "infonce": (0.52, 0.48, 0.55)}
    more = {"cka": (0.9, 0.8), "agreement": (0.7, 0.75), "neighbours": (0.5, 0.5)}
    pairs = near(tmp_path, copies, (0.5, 0.52, 0.51), **more)
    mse, infonce = nearness(gathered(tmp_path, pairs))
    # Independents less mse: 0.2, 0.21, 0.19, of deviation 0.01; as differences above.
    assert (mse.theft, mse.n, mse.measure) == ("mse", 3, "linear_l2")
    assert mse.copy == pytest.approx(0.31) and mse.independent == pytest.approx(0.51)
    assert mse.nearer == pytest.approx(0.2)
    assert mse.high - mse.low == pytest.approx(2 * 0.0248414, abs=1e-6)
    t = 0.2 / (0.01 / math.sqrt(3))
    assert mse.p == pytest.approx(1 - t / math.sqrt(t * t + 2), rel=1e-6)
    assert mse.holm == pytest.approx(2 * mse.p)
    assert mse.against == ["agreement", "neighbours"]
    assert infonce.nearer == pytest.approx(-0.02 / 3) and infonce.low < 0 < infonce.high


def test_nearness_needs_both(tmp_path):
    # Catches an interval of one victim, and a comparison with nobody.
    pairs = near(tmp_path / "a", {"mse": (0.3,)}, (0.5,), seeds=(0,))
    (row,) = nearness(gathered(tmp_path / "a", pairs))
    assert row.nearer == pytest.approx(0.2) and row.against == []
    assert (row.n, row.low, row.p, row.holm) == (1, None, None, None)
    assert nearness(gathered(tmp_path / "b", study(tmp_path / "b"))) == []


OTHER = {"data": "cifar10", "dataset": "digits", "loss": "mse", "queries": 100}
CARD = {"weights": "1f", "dataset": "cifar10"}
BROUGHT = {"origin": "weights", "weights": "1f", "encoder": fake.ENCODER}
OF_CARD = BROUGHT | {"shipped": "small"}


@pytest.mark.parametrize(
    "recipe, other, kind",
    [
        (OF_CARD, {}, "weights conv3 cifar10"),
        (OF_CARD, {"data": "imagenet2012"}, None),
        (OF_CARD, {"loss": "cosine"}, None),
        (OF_CARD | {"weights": "2e"}, {}, None),  # another one by now
        (BROUGHT, {}, None),
        ({"origin": "npz", "answers": "1f", "dim": 6}, {}, None),
        ({"objective": "simclr", "data": {"cifar10": {}}}, {}, "simclr cifar10"),
    ],
)
def test_published_beside_victims_of_the_same_data(
    recipe, other, kind, tmp_path, monkeypatch
):
    # Catches figures of ImageNet beside a victim of CIFAR-10, or of nobody knows what.
    monkeypatch.setattr(shipped, "_cards", lambda _: {"small": CARD})
    v = fake.finished(tmp_path, "victim", "v", {"seed": 0} | recipe, {})
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, v, 0.8)
    fake.probe(tmp_path, t, 0.7)
    rows = aggregate(gathered(tmp_path, [(fake.key(v), fake.key(t))]))
    (row,) = beside_published([OTHER | other], rows, "linear")
    assert [ours["kind"] for ours in row["ours"]] == ([kind] if kind else [])
