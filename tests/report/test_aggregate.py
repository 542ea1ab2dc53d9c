"""Means, intervals and comparisons, on runs made by hand."""

import math

import pytest

from sslx.report.aggregate import aggregate, differences
from tests.report import fake_study as fake
from tests.report.fake_study import gathered, row_of, study


def test_aggregates_over_seeds(tmp_path):
    # Catches a standard deviation in an interval's place, a ratio of means, seeds told
    # wrong. mse: 0.60, 0.62, 0.64: mean 0.62, deviation 0.02, t(2, 97.5 %) = 4.302653,
    # half width 4.302653 * 0.02 / sqrt(3) = 0.0496828.
    pairs = study(tmp_path)
    rows = aggregate(gathered(tmp_path, pairs))
    mse = row_of(rows, theft="mse")
    linear = mse.figures["linear"]
    assert linear.mean == pytest.approx(0.62)
    assert linear.low == pytest.approx(0.62 - 0.0496828, abs=1e-6)
    assert linear.high == pytest.approx(0.62 + 0.0496828, abs=1e-6)
    assert (linear.by, linear.n, mse.runs) == ("t", 3, 3)
    ratios = 0.60 / 0.80, 0.62 / 0.82, 0.64 / 0.84
    assert mse.of_victim.mean == pytest.approx(sum(ratios) / 3, abs=1e-12)
    assert mse.of_victim.by == "t"
    assert mse.figures["knn"].mean == pytest.approx(0.52)
    assert mse.varies == "3 victim seeds, each with its own stealer seed"
    victim = row_of(rows, role="victim")
    assert victim.varies == "3 victim seeds" and victim.of_victim is None
    assert [r.role for r in rows] == ["victim", "stolen", "stolen"]


def test_one_run_has_the_probe_s_interval(tmp_path):
    # Catches a t interval of one value (none, or of no width).
    pairs = study(tmp_path, victims=(4,))
    rows = aggregate(gathered(tmp_path, pairs))
    mse = row_of(rows, theft="mse")
    linear = mse.figures["linear"]
    assert (linear.low, linear.high, linear.by) == (0.58, 0.63, "wilson")
    assert mse.of_victim.low is None and mse.varies == "one run"


def test_stealers_of_one_victim_and_of_several(tmp_path):
    # Catches thefts of one victim that count as if they were of several: 2 victims with
    # 2 stealers each are 2 independent values, (0.5 + 0.6) / 2 and (0.7 + 0.8) / 2.
    v, w = fake.victim(tmp_path, 0), fake.victim(tmp_path, 1)
    fake.probe(tmp_path, v, 1.0)
    fake.probe(tmp_path, w, 1.0)
    accuracies = {
        (v.name, 0): 0.5,
        (v.name, 1): 0.6,
        (w.name, 0): 0.7,
        (w.name, 1): 0.8,
    }
    pairs = []
    for of in (v, w):
        for seed in (0, 1):
            t = fake.steal(tmp_path, of, seed)
            fake.probe(tmp_path, t, accuracies[of.name, seed])
            pairs.append((fake.key(of), fake.key(t)))
    one = row_of(aggregate(gathered(tmp_path, pairs[:2])), role="stolen")
    assert one.varies == "2 stealer seeds, one victim"
    assert one.figures["linear"].n == one.of_victim.n == 2
    both = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen")
    assert both.varies == "2 victim seeds, 4 stealers, 4 pairs"
    linear = both.figures["linear"]
    # Values 0.55 and 0.75; t(1, 97.5 %) = 12.7062: half width 12.7062 * 0.1.
    assert (linear.n, linear.mean) == (2, pytest.approx(0.65))
    assert linear.high == pytest.approx(0.65 + 1.27062, abs=1e-5)


def test_an_encoder_that_is_judged_by_several_counts_once(tmp_path):
    # Catches intervals that shrink with the number of victims where one stealer that
    # asked nobody, or one untrained network, is put beside each of them.
    pairs = study(tmp_path)
    own = fake.steal(tmp_path, None, 5, attack="ssl_only")
    fake.probe(tmp_path, own, 0.5)
    fake.probe(tmp_path, None, 0.3, untrained=9)
    pairs += [(victim, fake.key(own)) for victim in {v for v, _ in pairs}]
    rows = aggregate(gathered(tmp_path, pairs))
    ssl = row_of(rows, theft="pool")
    assert (ssl.queries, ssl.runs, ssl.pairs, ssl.usd) == (0, 1, 3, 0.0)
    assert ssl.varies == "3 victim seeds, one stealer, 3 pairs"
    linear = ssl.figures["linear"]
    assert (linear.low, linear.high, linear.by) == (0.48, 0.53, "wilson")
    assert ssl.of_victim.low is None
    untrained = row_of(rows, role="untrained")
    assert untrained.figures["linear"].by == "wilson"
    assert untrained.varies == "one run"


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
