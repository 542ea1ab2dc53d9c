"""Fidelity: cases made by hand, and slow versions that follow the papers literally."""

import math

import numpy as np
import pytest

from sslx.evals.fidelity import (
    agreement,
    cosine,
    distance,
    fidelity,
    linear_map,
    orthogonal_map,
    unexplained,
)
from sslx.evals.similarity import cka, information, neighbour_overlap, varying
from sslx.types import UserError

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((300, 6)) * np.arange(1, 7) + 2
NOISE = RNG.standard_normal((300, 6))
UNTRAINED = RNG.standard_normal((300, 5))
CONSTANT = np.full((300, 6), 0.1, np.float32)
ROTATION = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
ROTATED = -2.5 * FEATURES @ ROTATION + np.arange(6)
PERMUTED = FEATURES[:, [3, 1, 0, 5, 4, 2]]
MIXED = FEATURES @ RNG.standard_normal((6, 6)) + 1
ALONE = np.arange(300)
SETTINGS = dict(fit_fraction=0.5, k=5, rows=100, seed=0)


def run(victim, other, untrained=UNTRAINED, groups=ALONE, **change):
    labels = np.arange(len(victim)) % 3
    kwargs = dict(predictions=(labels, np.where(labels == 2, 0, labels)), **SETTINGS)
    return fidelity(victim, other, untrained, groups=groups, **kwargs | change)


# -- direct -------------------------------------------------------------------------


def test_cosine_by_hand():
    # Catches: a product of unnormalised rows, a cosine of whole matrices, NaN at 0.
    a, b = np.array([[3.0, 0], [1, 1], [5, 5]]), np.array([[9.0, 0], [-1, 1], [0, 0]])
    assert cosine(a, b) == pytest.approx(1 / 3)
    assert cosine(a, -1e30 * a) == pytest.approx(-1)
    assert cosine(1e-200 * a, a) == pytest.approx(1)


def test_distance_by_hand():
    # Catches: squares, the spread of the wrong side, a spread about 0.
    victim = np.array([[1.0, 0], [3, 0], [2, 0]])  # from its mean: 1, 1, 0
    other = victim + np.array([[0, 1], [0, 0], [3, 0]])  # by 1, 0, 3
    assert distance(victim, other) == pytest.approx((4 / 3) / (2 / 3))
    assert distance(victim, np.tile(victim.mean(0), (3, 1))) == pytest.approx(1)
    assert distance(victim, victim) == 0
    assert distance(CONSTANT, NOISE) is None


def test_agreement():
    # Catches: agreement with labels of another set, disagreement counted.
    assert agreement(np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])) == 0.75
    for wrong in (np.array([], int), np.array([0, 1])):
        with pytest.raises(UserError, match="not of one set"):
            agreement.__wrapped__(wrong, np.array([], int))


# -- maps ---------------------------------------------------------------------------


@pytest.mark.parametrize("other", [FEATURES, ROTATED, PERMUTED, MIXED])
def test_linear_map_undoes_linear_maps(other):
    # Catches: a map without the shift, applied transposed, or fitted the other way.
    found = linear_map(other[:200], FEATURES[:200])
    np.testing.assert_allclose(found(other[200:]), FEATURES[200:], atol=1e-3)


FITTED = ALONE < 200


@pytest.mark.parametrize("other", [FEATURES, ROTATED, PERMUTED, MIXED])
def test_unexplained_of_a_linear_map(other):
    # Catches: a measure that knows no map, on the rows that it was fitted on, of x by
    # y, or relative to the fitted rows' variance.
    assert unexplained(other, FEATURES, FITTED, ALONE) == pytest.approx(0, abs=1e-6)
    noisy = np.where(FITTED[:, None], FEATURES, FEATURES + 10 * NOISE)
    rest = noisy[200:]
    expected = 100 * np.square(NOISE[200:]).sum()
    expected /= np.square(rest - FEATURES[:200].mean(0)).sum()
    found = unexplained(other, noisy, FITTED, ALONE)
    assert found == pytest.approx(expected, rel=1e-3)


def test_unexplained_without_a_map():
    # Catches: 0 of features that say nothing, NaN of answers that do not differ.
    assert unexplained(CONSTANT, FEATURES, FITTED, ALONE) == pytest.approx(1)
    assert unexplained(NOISE, FEATURES, FITTED, ALONE) == pytest.approx(1, abs=0.1)
    flat = np.zeros((300, 2))
    assert unexplained(FEATURES, flat, FITTED, ALONE) is None


def test_linear_map_does_not_fit_noise():
    # Catches: least squares, which with 60 columns for 80 rows answers other rows worse
    # than their mean; units of a feature deciding how much it counts.
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((400, 60)), rng.standard_normal((400, 3))
    found = linear_map(x[:80], y[:80])
    assert distance(y[80:], found(x[80:])) < 1.1
    least = np.linalg.lstsq(np.c_[x[:80], np.ones(80)], y[:80])[0]
    assert distance(y[80:], np.c_[x[80:], np.ones(320)] @ least) > 1.5
    units = 10.0 ** np.linspace(-4, 4, 60)
    scaled = linear_map(units * x[:80], y[:80])
    np.testing.assert_allclose(scaled(units * x[80:]), found(x[80:]), atol=1e-8)


@pytest.mark.parametrize("other, exact", [(ROTATED, 1), (PERMUTED, 1), (MIXED, 0)])
def test_orthogonal_map_undoes_rotations_only(other, exact):
    # Catches: a linear map passed off as a rotation, no reflection, no scale, no shift.
    found = orthogonal_map(other[:200], FEATURES[:200])
    assert (distance(FEATURES[200:], found(other[200:])) < 1e-9) == exact
    # What it does is a rotation and one scale: distances between rows keep ratio.
    rows = found(other[:9])
    ratio = np.linalg.norm(rows[1:] - rows[0], axis=1) / np.linalg.norm(
        other[1:9] - other[0], axis=1
    )
    np.testing.assert_allclose(ratio, ratio[0])


def test_orthogonal_map_of_other_widths():
    # Catches: padding on the wrong side, a scale that counts what was dropped.
    wide = np.linalg.qr(RNG.standard_normal((9, 9)))[0]
    turned = 3 * np.pad(FEATURES, ((0, 0), (0, 3))) @ wide
    back = orthogonal_map(turned[:200], FEATURES[:200])
    np.testing.assert_allclose(back(turned[200:]), FEATURES[200:], atol=1e-9)
    there = orthogonal_map(FEATURES[:200], turned[:200])
    np.testing.assert_allclose(there(FEATURES[200:]), turned[200:], atol=1e-9)
    more = np.c_[2 * FEATURES, 1e-3 * NOISE]
    found = orthogonal_map(more, FEATURES)
    assert distance(FEATURES, found(more)) < 1e-3
    loud = np.c_[FEATURES + NOISE, 2 * FEATURES[::-1]]  # half of it is no use
    found, centre = orthogonal_map(loud, FEATURES)(loud), FEATURES.mean(0)
    error = np.square(found - FEATURES).sum()
    for change in (0.999, 1.001):
        moved = change * (found - centre) + centre
        assert np.square(moved - FEATURES).sum() > error
    # Against all rotations by a small angle: none is nearer in its own objective.
    noisy = FEATURES + NOISE
    best = orthogonal_map(noisy, FEATURES)
    error = np.square(best(noisy) - FEATURES).sum()
    turn = np.eye(6)
    turn[:2, :2] = [[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]]
    centre = FEATURES.mean(0)
    for change in (turn, turn.T, 1.001 * np.eye(6), 0.999 * np.eye(6)):
        moved = (best(noisy) - centre) @ change + centre
        assert np.square(moved - FEATURES).sum() > error


@pytest.mark.parametrize("find", [linear_map, orthogonal_map])
def test_maps_of_constant_features_answer_the_mean(find):
    # Catches: a division by 0, rounding blown up to a feature.
    jitter = np.nextafter(CONSTANT, np.where(NOISE > 0, 1, 0).astype(np.float32))
    for x in (CONSTANT, jitter, 0 * CONSTANT):
        found = find(x, FEATURES)(x)
        np.testing.assert_allclose(found, np.tile(FEATURES.mean(0), (300, 1)))
    assert np.ptp(find(FEATURES, CONSTANT)(FEATURES), axis=0).max() < 1e-6


# -- similarities -------------------------------------------------------------------


def slow_hsic(x, y):
    """Equation 5 of Song et al. 2012, with its matrices of n x n."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    first = np.trace(k @ m)
    second = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ k @ m @ one)
    return (first + second - third) / (n * (n - 3))


def slow_cka(x, y):
    return slow_hsic(x, y) / math.sqrt(slow_hsic(x, x) * slow_hsic(y, y))


@pytest.mark.parametrize("other", [ROTATED, MIXED, NOISE, FEATURES + 3 * NOISE])
@pytest.mark.parametrize("n", [4, 20, 300])
def test_cka_by_gram_matrices(other, n):
    # Catches: the biased estimate, a lost term, another normalisation.
    x, y = FEATURES[:n], other[:n, :5]
    assert cka(x, y) == pytest.approx(slow_cka(x, y), rel=1e-7, abs=1e-9)
    assert cka(x, y) == pytest.approx(cka(y, x), rel=1e-9, abs=1e-12)


def test_cka_of_cases():
    # Catches: what must not count does (rotation, scale, shift, order of features), or
    # independent features getting more with width, as the biased estimate has it.
    for other in (FEATURES, ROTATED, PERMUTED, 1e-30 * FEATURES, 1e30 * FEATURES):
        assert cka(FEATURES, other) == pytest.approx(1)
    assert 0.2 < cka(FEATURES, MIXED) < 0.99
    rng = np.random.default_rng(2)
    wide = [rng.standard_normal((100, 1000)) for _ in range(2)]
    centred = [x - x.mean(0) for x in wide]
    one, two = (x @ x.T for x in centred)
    assert (one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two) > 0.8
    assert abs(cka(*wide)) < 0.05
    for pair in ((CONSTANT, FEATURES), (FEATURES, CONSTANT), (CONSTANT, CONSTANT)):
        assert cka(*pair) == 0
    assert cka(FEATURES[:3], FEATURES[:3]) == 0


def slow_overlap(x, y, k, groups):
    shared = 0
    for i in range(len(x)):
        sets = []
        for rows in (x, y):
            others = [j for j in range(len(x)) if groups[j] != groups[i]]
            near = sorted(
                others,
                key=lambda j: -(rows[i] @ rows[j]) / np.linalg.norm(rows[j]),  # noqa: B023
            )
            sets.append(set(near[:k]))
        shared += len(sets[0] & sets[1])
    return shared / (k * len(x))


@pytest.mark.parametrize("k", [1, 7])
def test_overlap_by_loops(k):
    # Catches: neighbours compared in order, rows mixed up, groups lost, unscaled by k.
    x, y, groups = FEATURES[:60], (FEATURES + NOISE)[:60], np.arange(60) // 2
    expected = slow_overlap(x, y, k, groups)
    assert 0.1 < expected < 0.9
    assert neighbour_overlap(x, y, k=k, groups=groups) == pytest.approx(expected)


def test_overlap_of_cases():
    # Catches: distances that a rotation or scale changes; chance not at k / (n - 1);
    # collapsed encoders agreeing on the order of their rows.
    centred = FEATURES - 2
    overlap = lambda x, y: neighbour_overlap(x, y, k=10, groups=ALONE)  # noqa: E731
    assert overlap(centred, 3 * centred @ ROTATION) == 1
    assert overlap(FEATURES, PERMUTED) == 1
    assert overlap(FEATURES, NOISE) == pytest.approx(10 / 299, abs=0.02)
    assert overlap(CONSTANT, CONSTANT) == overlap(FEATURES, CONSTANT) == 0
    lengths = np.arange(1.0, 301)[:, None] * CONSTANT  # one direction, many lengths
    assert overlap(lengths, lengths) == 0


def slow_entropy(rows):
    n, d = rows.shape
    total = 0.0
    for i in range(n):
        radius = min(np.linalg.norm(rows[i] - rows[j]) for j in range(n) if j != i)
        total += math.log(n - 1) + d * math.log(radius + 1e-10)
    volume = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    return total / n + volume + 0.5772156649015329


def slow_information(victim, other, untrained):
    norm = [x - x.mean(0) for x in (victim, other, untrained)]
    v, s, r = (x / np.linalg.norm(x) for x in norm)

    def mutual(a, b):
        return slow_entropy(a) + slow_entropy(b) - slow_entropy(np.c_[a, b])

    least = mutual(v, r)
    return min(1, max(0, (mutual(v, s) - least) / (mutual(v, v) - least)))


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_information_by_loops(noise):
    # Catches: another normalisation, dimension or constant of an entropy, a lost log.
    victim, other = FEATURES[:40], (FEATURES + noise * NOISE)[:40, :4]
    expected = slow_information(victim, other, UNTRAINED[:40])
    assert 0.02 < expected < 0.9
    ours = information(victim, other, UNTRAINED[:40])
    assert ours == pytest.approx(expected, rel=1e-9)


def test_information_of_cases():
    # Catches: a score that rotation, order, shift or scale changes; no zero, no one.
    for other in (FEATURES, ROTATED, PERMUTED):
        assert information(FEATURES, other, UNTRAINED) == pytest.approx(1)
    assert information(FEATURES, UNTRAINED, UNTRAINED) == 0
    assert information(FEATURES, NOISE, UNTRAINED) < 0.1
    assert information(FEATURES, CONSTANT, UNTRAINED) == 0
    # No scale: not a number that looks like a score.
    assert information(CONSTANT, FEATURES, UNTRAINED) is None
    assert information(FEATURES, FEATURES, CONSTANT) is None
    assert information(FEATURES, NOISE, FEATURES) is None
    twice = np.repeat(FEATURES[:50], 2, 0)  # nearest neighbours at distance 0
    assert information(twice, twice, UNTRAINED[:100]) == pytest.approx(1)


# -- all of it ----------------------------------------------------------------------


def test_all_of_a_rotated_copy():
    # Catches: a measure under another's name, arguments the wrong way round.
    found = run(FEATURES, ROTATED)
    assert found["cosine"] < 0.9 and found["l2"] > 1
    for name in ("linear_cosine", "orthogonal_cosine", "cka", "information"):
        assert found[name] == pytest.approx(1, abs=1e-6), name
    assert found["linear_l2"] < 1e-3 and found["orthogonal_l2"] < 1e-9
    assert 0.1 < found["neighbours"] < 1  # the shift changes directions
    assert found["agreement"] == pytest.approx(2 / 3)
    assert [found[n] for n in ("n_fitted", "n_judged", "n_compared")] == [150, 150, 100]
    itself = run(FEATURES, FEATURES)
    assert itself["cosine"] == itself["neighbours"] == pytest.approx(1)
    assert itself["l2"] == 0 and found["cosine_of_mean"] == itself["cosine_of_mean"]
    mixed = run(FEATURES, MIXED)
    assert mixed["linear_l2"] < 1e-3 < 0.1 < mixed["orthogonal_l2"]


def test_maps_are_judged_on_other_rows():
    # Catches: maps judged where they were fitted, where 150 columns answer everything.
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((300, 200)), rng.standard_normal((300, 20))
    found = run(y, x)
    assert found["cosine"] is None and found["l2"] is None  # widths differ
    assert found["linear_l2"] > 0.95 and found["orthogonal_l2"] > 0.95


def test_groups_are_never_divided():
    # Catches: copies of one picture on both sides: with each picture three times, the
    # copy left on the other side tells the answer. And views as each other's neighbour.
    rng = np.random.default_rng(4)
    x, y = (rng.standard_normal((100, d)).repeat(3, 0) for d in (200, 20))
    apart = run(y, x, groups=np.arange(100).repeat(3), rows=999)
    assert apart["linear_l2"] > 0.95 and apart["n_compared"] == 50
    assert apart["n_fitted"] == 150
    assert run(y, x)["linear_l2"] < 0.8


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_draws(seed):
    # Catches: a part or a draw that no seed changes, or that differs from run to run.
    noisy = FEATURES + NOISE
    one, two = (run(FEATURES, noisy, seed=seed) for _ in range(2))
    assert one == two != run(FEATURES, noisy, seed=2)


@pytest.mark.parametrize("victim, other", [(0, 1), (1, 0), (0, 0)])
def test_collapsed_encoders_have_figures(victim, other):
    # Catches: NaN or a warning (an error in these tests) where an encoder is collapsed.
    sides = (CONSTANT, FEATURES)
    found = run(sides[victim], sides[other])
    for name, value in found.items():
        assert value is None or math.isfinite(value), name
    assert found["cka"] == found["neighbours"] == 0
    assert (found["l2"] is None) == (victim == 0)
    zeros = run(0 * CONSTANT, 0 * CONSTANT, 0 * CONSTANT)
    assert zeros["cosine"] == 0 and zeros["information"] is None
    twice = np.repeat(FEATURES[:2], 150, 0)  # two points
    assert all(v is None or math.isfinite(v) for v in run(twice, twice).values())


def test_varying():
    # Catches: rounding of float32 taken for a feature, a small feature for rounding.
    columns = np.c_[np.full(9, 1e4), np.linspace(0, 1e-8, 9), 1e4 + np.arange(9) * 1e-4]
    assert varying(columns).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(other=np.where(FEATURES > 5, np.nan, FEATURES)), "NaN or infinity"),
        (dict(fit_fraction=0.0), "fit_fraction=0.0 of 300 images"),
        (dict(fit_fraction=1.0), "fit_fraction=1.0 of 300 images"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    # Catches: wrong input that gets figures all the same.
    with pytest.raises(UserError) as error:
        run(**dict(victim=FEATURES, other=ROTATED) | change)
    assert message in str(error.value) and "\n" not in str(error.value)
