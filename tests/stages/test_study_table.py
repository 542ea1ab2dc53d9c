"""Records, aggregates and comparisons of a study, on runs made by hand."""

import itertools
import math

import jax
import jax.numpy as jnp
import pytest
from sslx.report.study_rows import collect
from sslx.report.study_table import aggregate, differences

from sslx.models.flops import count_flops, forward_flops
from sslx.report import study_labels
from sslx.runs.lineage import lineage
from tests import fake_study as fake

ADAM = {"name": "adam", "learning_rate": 1e-3}


def row_of(rows, **wanted):
    (row,) = (r for r in rows if all(r[k] == v for k, v in wanted.items()))
    return row


def study(workdir, victims=(0, 1, 2), losses=("mse", "infonce"), gap=0.1):
    """Victims 0.80, 0.82, ...; mse 0.2 below its victim, infonce ``gap`` below mse."""
    pairs = []
    for i, seed in enumerate(victims):
        v = fake.victim(workdir, seed)
        fake.probe(workdir, v, 0.80 + 0.02 * i)
        for j, loss in enumerate(losses):
            t = fake.steal(workdir, v, seed, loss=loss)
            fake.probe(workdir, t, 0.60 + 0.02 * i - gap * j + 0.01 * i * j)
            pairs.append((fake.key(v), fake.key(t)))
    return pairs


def test_a_record(tmp_path):
    # Catches another's bill or seed, a ratio to anything but the own victim, FLOPs that
    # leave the views out, an untrained encoder of another seed.
    pairs = study(tmp_path)
    for seed in (0, 1, 7):
        fake.probe(tmp_path, None, 0.3 + seed / 100, untrained=seed)
    fake.probe(tmp_path, None, 0.2)
    records = collect(lineage(tmp_path), pairs)
    r = row_of(records, role="stolen", theft="infonce", seed=1)
    assert (r["victim"], r["run"]) == pairs[3]
    assert (r["queries"], r["usd"], r["counters"]["images"]) == (100, 0.2, 100)
    assert (r["victim_seed"], r["seed"], r["n_test"], r["kind"]) == (
        *(1, 1, fake.N_TEST),
        "simclr conv3 digits",
    )
    assert r["ratio"] == pytest.approx((0.60 + 0.02 - 0.1 + 0.01) / 0.82)
    forward = forward_flops(fake.ENCODER, fake.SHAPE)
    # 4 images, 10 steps; SimCLR sees two views of each.
    assert r["flops"] == 3 * forward * 4 * 10
    assert r["victim_flops"] == 2 * r["flops"]
    # Victims 0 and 1 have their own seed's; 2 has none, and takes all three.
    untrained = [
        (u["victim_seed"], u["seed"]) for u in records if u["role"] == "untrained"
    ]
    assert sorted(untrained) == [(0, 0), (1, 1), (2, 0), (2, 1), (2, 7)]
    assert row_of(records, role="pixels", victim_seed=0)["accuracy"]["linear"] == 0.2


def test_forward_flops_of_a_convolution():
    # Catches a count of the whole batch, or of one for a multiplication and a sum.
    # conv3 of width 8 on 8x8: 3x3 convolutions 1 -> 8 at stride 1, 8 -> 16 and 16 -> 32
    # at stride 2, padded by 1; products with the padding are not counted.
    def convolution(size, stride, into, out):
        places = range(0, size, stride)
        taps = sum(0 <= p + k < size for p in places for k in (-1, 0, 1))
        return 2 * taps**2 * into * out

    expected = (
        convolution(8, 1, 1, 8) + convolution(8, 2, 8, 16) + convolution(4, 2, 16, 32)
    )
    found = forward_flops(fake.ENCODER, fake.SHAPE)
    assert expected < found < 1.2 * expected  # the rest is normalisation and the like


def test_flops_are_counted_for_a_cpu():
    # Catches a count left to the default device: where that is an accelerator there is
    # none, or one that leaves its library's convolutions out.
    *_, other = jax.devices()
    lowered_for = []

    def convolution(images, kernel):
        lowered_for.append(jax.config.jax_default_device)
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=dimensions
        )

    kernel = jax.device_put(jnp.ones((3, 3, 3, 5)), other)  # drawn there otherwise
    with jax.default_device(other):
        images = jax.ShapeDtypeStruct((2, 10, 10, 3), jnp.float32)
        found = count_flops(convolution, images, kernel)
    assert found == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    assert lowered_for == jax.local_devices(backend="cpu")[:1] != [other]


def test_flops_without_a_cpu(monkeypatch):
    # Catches a report that fails where JAX was told to leave the CPU out.
    def none(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none)
    assert count_flops(jnp.sin, jax.ShapeDtypeStruct((2,), jnp.float32)) is None


def test_aggregates_over_seeds(tmp_path):
    # Catches a standard deviation in an interval's place, a ratio of means, seeds told
    # wrong. mse: 0.60, 0.62, 0.64: mean 0.62, deviation 0.02, t(2, 97.5 %) = 4.302653,
    # half width 4.302653 * 0.02 / sqrt(3) = 0.0496828.
    pairs = study(tmp_path)
    rows = aggregate(collect(lineage(tmp_path), pairs))
    mse = row_of(rows, theft="mse")
    linear = mse["accuracy"]["linear"]
    assert linear["mean"] == pytest.approx(0.62)
    assert linear["low"] == pytest.approx(0.62 - 0.0496828, abs=1e-6)
    assert linear["high"] == pytest.approx(0.62 + 0.0496828, abs=1e-6)
    assert (linear["by"], linear["n"], mse["runs"]) == ("t", 3, 3)
    ratios = 0.60 / 0.80, 0.62 / 0.82, 0.64 / 0.84
    assert mse["ratio"]["mean"] == pytest.approx(sum(ratios) / 3, abs=1e-12)
    assert mse["ratio"]["by"] == "t"
    assert mse["accuracy"]["knn"]["mean"] == pytest.approx(0.52)
    assert mse["varies"] == "3 victim seeds, each with its own stealer seed"
    victim = row_of(rows, role="victim")
    assert victim["varies"] == "3 victim seeds" and victim["ratio"] is None
    assert [r["role"] for r in rows] == ["victim", "stolen", "stolen"]


def test_one_run_has_the_probe_s_interval(tmp_path):
    # Catches a t interval of one value (none, or of no width).
    pairs = study(tmp_path, victims=(4,))
    rows = aggregate(collect(lineage(tmp_path), pairs))
    mse = row_of(rows, theft="mse")
    linear = mse["accuracy"]["linear"]
    assert (linear["low"], linear["high"], linear["by"]) == (0.58, 0.63, "wilson")
    assert mse["ratio"]["low"] is None and mse["varies"] == "one run"


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
    one = row_of(aggregate(collect(lineage(tmp_path), pairs[:2])), role="stolen")
    assert one["varies"] == "2 stealer seeds, one victim"
    assert one["accuracy"]["linear"]["n"] == one["ratio"]["n"] == 2
    both = row_of(aggregate(collect(lineage(tmp_path), pairs)), role="stolen")
    assert both["varies"] == "2 victim seeds, 4 stealers, 4 pairs"
    linear = both["accuracy"]["linear"]
    # Values 0.55 and 0.75; t(1, 97.5 %) = 12.7062: half width 12.7062 * 0.1.
    assert (linear["n"], linear["mean"]) == (2, pytest.approx(0.65))
    assert linear["high"] == pytest.approx(0.65 + 1.27062, abs=1e-5)


def test_an_encoder_that_is_judged_by_several_counts_once(tmp_path):
    # Catches intervals that shrink with the number of victims where one stealer that
    # asked nobody, or one untrained network, is put beside each of them.
    pairs = study(tmp_path)
    own = fake.steal(tmp_path, None, 5, attack="ssl_only")
    fake.probe(tmp_path, own, 0.5)
    fake.probe(tmp_path, None, 0.3, untrained=9)
    pairs += [(victim, fake.key(own)) for victim in {v for v, _ in pairs}]
    rows = aggregate(collect(lineage(tmp_path), pairs))
    ssl = row_of(rows, theft="ssl_only")
    assert (ssl["queries"], ssl["runs"], ssl["pairs"], ssl["usd"]) == (0, 1, 3, 0.0)
    assert ssl["varies"] == "3 victim seeds, one stealer, 3 pairs"
    linear = ssl["accuracy"]["linear"]
    assert (linear["low"], linear["high"], linear["by"]) == (0.48, 0.53, "wilson")
    assert ssl["ratio"]["low"] is None
    untrained = row_of(rows, role="untrained")
    assert untrained["accuracy"]["linear"]["by"] == "wilson"
    assert untrained["varies"] == "one run"


def test_paired_differences(tmp_path):
    # Catches an unpaired test, a sign, Holm over one budget only. mse - infonce: 0.1,
    # 0.09, 0.08: mean 0.09, deviation 0.01, t = 0.09 / (0.01 / sqrt 3) = 15.588,
    # p = 1 - t / sqrt(t^2 + 2) for 2 degrees of freedom; half 4.302653 * 0.0057735.
    pairs = study(tmp_path)
    (row,) = differences(collect(lineage(tmp_path), pairs))
    t = 0.09 / (0.01 / math.sqrt(3))
    p = 1 - t / math.sqrt(t * t + 2)
    assert (row["n"], row["queries"]) == (3, 100)
    sign = 1 if row["a"] == "mse" else -1
    assert {row["a"], row["b"]} == {"mse", "infonce"}
    assert sign * row["difference"] == pytest.approx(0.09)
    assert row["high"] - row["low"] == pytest.approx(2 * 0.0248414, abs=1e-6)
    assert row["p"] == row["holm"] == pytest.approx(p, rel=1e-6)


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
    found = differences(collect(lineage(tmp_path), pairs))
    told = [(r["queries"], {r["a"], r["b"]}) for r in found]
    both = [{"mse", "ssl_only"}, {"cosine", "ssl_only"}, {"mse", "cosine"}]
    assert len(told) == 6
    assert all((q, pair) in told for q in (100, 400) for pair in both)
    assert {r["b"] for r in found if "ssl_only" in (r["a"], r["b"])} == {"ssl_only"}
    smallest = min(found, key=lambda r: r["p"])
    assert smallest["holm"] == pytest.approx(6 * smallest["p"])


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
    (row,) = differences(collect(lineage(tmp_path), pairs))
    assert {row["a"], row["b"]} == {"mse", "cosine"}
    assert abs(row["difference"]) == pytest.approx(0.1)
    assert (row["n"], row["low"], row["p"], row["holm"]) == (1, None, None, None)


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
    rows = aggregate(collect(lineage(tmp_path), [(fake.key(v), fake.key(t))]))
    assert [r["role"] for r in rows] == ["victim", "stolen", "independent"]
    assert rows[1]["fidelity"] == {"cka": 0.9, "agreement": 0.8}
    assert rows[2]["fidelity"]["cka"] == 0.6
    assert rows[2]["accuracy"]["linear"]["mean"] == 0.79


def test_victims_that_are_not_probed(tmp_path):
    # Catches a ratio to nothing: a victim that cannot be asked for the test images.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, t, 0.7)
    (record,) = collect(lineage(tmp_path), [(fake.key(v), fake.key(t))])
    assert record["ratio"] is None and record["victim_accuracy"] is None
    (row,) = aggregate([record])
    assert row["ratio"] is None and row["accuracy"]["linear"]["mean"] == 0.7


def test_labels():
    # Catches labels that do not tell thefts apart, or name what all share or a seed.
    seeds = itertools.count()

    def told(queries=500, **settings):
        flat = study_labels.flat({"seed": next(seeds), **settings})
        return "direct", "softnn", queries, "victim", flat

    def labels(*thefts):
        return [label for label, _ in study_labels.thefts(list(thefts))]

    numbers = [{"temperature": t, "weight": 1.0} for t in (1.0, 100.0)]
    assert labels(told(), told()) == ["softnn", "softnn"]
    found = labels(
        told(numbers=numbers[0], steps=5, optim=ADAM),
        told(numbers=numbers[1], steps=5, optim=ADAM),
        told(2000, numbers=numbers[0], steps=20, optim=ADAM),
    )
    assert found == [f"softnn temperature={t}" for t in (1, 100, 1)]
    # An encoder's name says enough; its numbers come with it.
    nets = [
        {"name": "conv3", "kw": {"width": 8}},
        {"name": "resnet18", "kw": {"width": 64, "stem": "cifar"}},
    ]
    found = study_labels.thefts([told(encoder=net) for net in nets])
    assert [label for label, _ in found] == [
        "softnn encoder=conv3",
        "softnn encoder=resnet18",
    ]
    assert found[1][1]["encoder.kw.stem"] == "cifar"  # but it is written down
    optims = [{"weight_decay": w} for w in (0, 1)]
    own = [{"optim": a, "ssl": {"optim": b}} for a in optims for b in optims]
    assert len(set(labels(*(told(**o) for o in own)))) == 4
    assert labels(("rda", "own", 5, "", {}), ("rda", "mse", 5, "", {})) == [
        "rda",
        "rda mse",
    ]
    assert labels(told(augment=[]), told(augment=[{"x": 1}]))[0] == "softnn augment="


def test_kinds_of_victims(tmp_path):
    # Catches seeds that make a kind of their own, and kinds that look the same.
    victims = [fake.victim(tmp_path, seed) for seed in (0, 1)]
    victims.append(fake.victim(tmp_path, 0, held_out=0.5))
    nodes = lineage(tmp_path)
    names = study_labels.kinds([nodes[fake.key(v)] for v in victims])
    a, b, c = (names[fake.key(v)] for v in victims)
    assert a == b == "simclr conv3 digits" and c == "simclr conv3 digits held_out=0.5"


def test_protocols_are_told_apart(tmp_path):
    # Catches figures of two data sets or protocols in one mean.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    for run, accuracy in ((v, 0.8), (t, 0.6)):
        fake.probe(tmp_path, run, accuracy)
        fake.probe(tmp_path, run, accuracy / 2, data="svhn")
    rows = aggregate(collect(lineage(tmp_path), [(fake.key(v), fake.key(t))]))
    means = {(r["set"], r["role"]): r["accuracy"]["linear"]["mean"] for r in rows}
    assert means == {
        ("digits", "victim"): 0.8,
        ("digits", "stolen"): 0.6,
        ("svhn", "victim"): 0.4,
        ("svhn", "stolen"): 0.3,
    }
