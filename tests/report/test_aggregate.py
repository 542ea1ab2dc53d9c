"""Means and intervals, on runs made by hand."""

import pytest

from sslx.report.aggregate import aggregate, baselines
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


def test_fidelity_has_the_intervals_of_accuracies(tmp_path):
    # Catches fidelity over seeds without an interval, thefts of one victim that count
    # as so many victims, an interval of one seed, a measure that one seed lacks.
    pairs = []
    cka = {(0, 0): 0.5, (0, 1): 0.6, (1, 0): 0.7, (1, 1): 0.8}
    for seed in (0, 1):
        v = fake.victim(tmp_path, seed)
        judge = fake.probe(tmp_path, v, 0.9)
        for own in (0, 1):
            t = fake.steal(tmp_path, v, own)
            p = fake.probe(tmp_path, t, 0.7)
            found = {"neighbours": 0.3} if (seed, own) == (0, 1) else {}
            fake.fidelity(tmp_path, judge, p, cka=cka[seed, own], l2=0.5, **found)
            pairs.append((fake.key(v), fake.key(t)))
    # Values 0.55 and 0.75, as accuracies above.
    found = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen").fidelity
    assert (found["cka"].n, found["cka"].by) == (2, "t")
    assert found["cka"].mean == pytest.approx(0.65)
    assert found["cka"].high == pytest.approx(0.65 + 1.27062, abs=1e-5)
    assert (found["l2"].low, found["l2"].high) == (0.5, 0.5)
    assert (found["neighbours"].mean, found["neighbours"].low) == (0.3, None)
    one = row_of(aggregate(gathered(tmp_path, pairs[:2])), role="stolen").fidelity
    assert one["cka"].n == 2 and one["cka"].mean == pytest.approx(0.55)
    single = row_of(aggregate(gathered(tmp_path, pairs[:1])), role="stolen").fidelity
    assert single["cka"] == (0.5, None, None, None, 1, None)


def paid(workdir, alone, seeds=(0, 1), gap=0.01, **other):
    """Thefts of 100 images at 1,000 passes, 0.8 and that + gap; beside them ``alone``.

    alone: times the passes -> accuracy less the theft's, a number for each seed.
    other: What of its recipe is not the theft's.
    """
    pairs = []
    for seed in seeds:
        v = fake.victim(workdir, seed)
        fake.probe(workdir, v, 0.9)
        work = {"images": 100, "passes": 1000}
        runs = [(fake.steal(workdir, v, seed, **work), 0.8 + gap * seed)]
        for times, less in alone.items():
            work = {"images": 100, "passes": round(1000 * times), "steps": times}
            work |= {"asked": {}} | other
            run = fake.steal(workdir, None, seed, attack="ssl_only", **work)
            runs.append((run, 0.8 + gap * seed + less[seed]))
        for run, accuracy in runs:
            fake.probe(workdir, run, accuracy)
            pairs.append((fake.key(v), fake.key(run)))
    return pairs


def test_what_queries_bought(tmp_path):
    # Catches a gain over other work, unpaired, of the wrong sign; of several longer
    # trainings not the longest; a training of 2.5 times the passes taken for one of 2.
    pairs = paid(tmp_path, {1: (-0.1, -0.12), 5: (0.02, 0.04), 3: (0, 0), 2.5: (1, 1)})
    row = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen")
    assert row.gain.mean == pytest.approx(0.11)
    # Differences 0.10 and 0.12: half width 12.7062 * 0.01.
    assert row.gain.high == pytest.approx(0.11 + 0.127062, abs=1e-5)
    assert (row.times, row.gain_long.mean) == (5, pytest.approx(-0.03))
    assert row.gain_long.by == "t" and row.gain_long.n == 2


@pytest.mark.parametrize(
    "alone, gain, times",
    [({}, None, None), ({1: (-0.1,)}, 0.1, None), ({4.9: (-0.1,)}, None, 5)],
)
def test_what_is_not_beside_a_theft(tmp_path, alone, gain, times):
    # Catches a figure of what was not run, an interval of one seed.
    pairs = paid(tmp_path, alone, seeds=(0,))
    row = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen")
    assert (row.gain and row.gain.mean) == (gain and pytest.approx(gain))
    assert row.times == times and (row.gain_long is None) == (times is None)
    for found in filter(None, (row.gain, row.gain_long)):
        assert found.low is None


@pytest.mark.parametrize(
    "other",
    [
        {"pool": {"cifar100": {}}},
        {"held_out": 0.25},
        {"encoder": {"name": "resnet18", "kw": {"width": 8}}},
        {"left_out": "3-abc"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_as_many_images_are_not_the_same_images(tmp_path, other):
    # Catches a gain over another network, or one trained on other images of a number.
    pairs = paid(tmp_path, {1: (-0.1,), 5: (0.1,)}, seeds=(0,), **other)
    row = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen")
    assert (row.gain, row.gain_long) == (None, None)


def test_a_warm_start_s_gain_is_over_the_images_it_asks(tmp_path):
    # Catches two opponents in one column: those of a theft that begins with a network
    # that had the whole pool, and those of all others.
    v = fake.victim(tmp_path, 0)
    before = {"attack": "ssl_only", "images": 900, "passes": 400, "steps": 3}
    own = fake.steal(tmp_path, None, 0, **before)
    work = {"images": 100, "passes": 600, "before": {"ssl": own}}
    warm = fake.steal(tmp_path, v, 0, attack="warm_start", **work)
    runs = [(warm, 0.8)]
    for images, asked, accuracy in ((100, {"asked": {}}, 0.7), (900, {}, 0.75)):
        work = {"images": images, "passes": 1000, **asked}
        run = fake.steal(tmp_path, None, 0, attack="ssl_only", **work)
        runs.append((run, accuracy))
    for run, accuracy in runs:
        fake.probe(tmp_path, run, accuracy)
    pairs = [(fake.key(v), fake.key(run)) for run, _ in runs]
    row = row_of(aggregate(gathered(tmp_path, pairs)), role="stolen")
    assert (row.images, row.passes) == (900, 1000)
    assert row.gain.mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    "batch, initial, better",
    [(0.55, 0.68, "initial"), (0.7, 0.6, "batch"), (0.5, 0.5, "batch")],
)
@pytest.mark.parametrize("primary", ["linear", "linear_0.01"])
def test_the_better_untrained_network(tmp_path, batch, initial, better, primary):
    # Catches the lesser form as the baseline, one that is chosen by another figure.
    pairs = study(tmp_path, victims=(0,))
    more = {"linear_0.01": batch} if primary != "linear" else {}
    fake.probe(tmp_path, None, 0.9 if more else batch, untrained=0, **more)
    more = {"linear_0.01": initial} if primary != "linear" else {}
    last = 0.1 if more else initial
    fake.probe(tmp_path, None, last, untrained=0, initial=True, **more)
    rows = aggregate(gathered(tmp_path, pairs), primary)
    assert [r.theft for r in rows if r.role == "untrained"] == ["batch", "initial"]
    left = baselines(rows, primary)
    assert [r.theft for r in left if r.role == "untrained"] == [better]
    assert len(left) == len(rows) - 1
