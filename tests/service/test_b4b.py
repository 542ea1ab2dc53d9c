"""Buckets, price curve, transforms of accounts: against slow ones, and by theory."""

import numpy as np
import pytest

from sslx.service import DEFENCES
from sslx.service.defences.b4b import noise_at
from sslx.service.defences.buckets import (
    buckets_of,
    cover,
    each_by_itself,
    no_buckets,
)
from sslx.service.defences.transforms import TRANSFORMS
from sslx.types import UserError
from tests.service.defended import LATE, NUMBERS, key_of, request_of
from tests.service.test_defences import EXAMPLE, HOLDS

BASE = NUMBERS["b4b"]


def answers_of(n, dim, seed=0):
    """Of a ReLU: none negative, columns of several sizes, one that is always 0."""
    random = np.random.default_rng(seed)
    raw = np.maximum(random.normal(0.3, 1, (n, dim)), 0) * random.uniform(0.1, 3, dim)
    raw[:, -1] = 0
    return raw


def slow_coverage(raw, middle, key, bits, draws):
    planes = np.random.default_rng([*key.tolist(), 0]).normal(
        size=(raw.shape[1], draws * bits)
    )
    sets, out = [set() for _ in range(draws)], []
    for y in raw.astype(np.float64):
        for m in range(draws):
            number = 0
            for j in range(bits):
                number += 2**j * bool((y - middle) @ planes[:, m * bits + j] > 0)
            sets[m].add(number)
        out.append(100 * sum(map(len, sets)) / draws / 2**bits)
    return out


def slow_transform(name, key, y, sd, measured, image_key):
    draw = np.random.default_rng([*key.tolist(), 1])
    own = np.random.default_rng(image_key)
    d, deviation = len(y), measured.deviation.astype(np.float64)
    scale = deviation
    if name == "diagonal":
        a = 2 ** draw.uniform(-1, 1, d) * draw.choice([-1, 1], d)
        y = y * a + draw.normal(size=d) * deviation
        scale = abs(a) * deviation
    if name == "dense":
        matrix = draw.uniform(-1, 1, (d, d)) * np.sqrt(3 / d)
        size = np.sqrt(sum(deviation**2) / d)
        y = [sum(y * matrix[:, j]) for j in range(d)] + draw.normal(size=d) * size
        scale = np.full(d, size)
    if name == "orthogonal":
        q, r = np.linalg.qr(draw.normal(size=(d, d)))
        y = [sum(y * q[:, j]) * np.sign(r[j, j]) for j in range(d)]
        scale = np.full(d, np.sqrt(sum(deviation**2) / d))
    if name == "pad_shuffle":
        order, whose = (
            draw.permutation(2 * d),
            own.integers(len(measured.answers), size=d),
        )
        pads = [measured.answers[whose[j], j] for j in range(d)]
        y = [[*y, *pads][j] for j in order]
        scale = [[*deviation, *deviation][j] for j in order]
    y = np.array(y) + sd * np.array(scale) * own.normal(size=len(y))
    if name != "bits":
        return y
    other = draw.integers(1, d, 2 * d)
    angle, which = draw.uniform(0, 2 * np.pi, 2 * d), draw.random(2 * d)
    out = []
    for j in range(2 * d):
        one, two = j % d, (j % d + other[j]) % d
        x = measured.answers[int(which[j] * len(measured.answers))]
        # Away from the line, in units of the two columns' deviations.
        way = (y[one] - x[one]) * deviation[two] * np.cos(angle[j])
        out.append(way + (y[two] - x[two]) * deviation[one] * np.sin(angle[j]) > 0)
    return np.array(out, float)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    ("n", "dim", "bits", "draws", "centred"),
    [(5, 3, 3, 1, True), (40, 7, 5, 3, False), (25, 16, 12, 4, True)],
)
def test_b4b_as_in_words(transform, n, dim, bits, draws, centred):
    # Noise of the state before an image, buckets by answers that are not centred, a
    # column that gets another's deviation, pads from one image, noise drawn twice.
    raw, measured = answers_of(2 * n, dim), answers_of(30, dim, 1)
    kw = {"bits": bits, "draws": draws, "centred": centred, "transform": transform}
    defence = DEFENCES["b4b"](**BASE | kw)
    state = defence.init(dim, key_of(dim))
    middle = request_of(raw, 0, measured).calibration.mean if centred else 0
    slow = slow_coverage(raw.astype(np.float32), middle, key_of(dim), bits, draws)
    for part in (0, 1):
        request = request_of(raw[part * n :][:n], part, measured)
        answers, state, rows, notes = defence.apply(state, request)
        coverage = np.array(slow[part * n :][:n])
        sd = [0.01 * (np.exp(np.log(1 / 0.01) * c / 50) - 1) for c in coverage]
        np.testing.assert_allclose(notes["coverage"], coverage, rtol=1e-12)
        np.testing.assert_allclose(notes["noise"], sd, rtol=1e-9)
        want = [
            slow_transform(
                transform, key_of(dim), y.astype(float), s, request.calibration, k
            )
            for y, s, k in zip(request.raw, sd, request.keys, strict=True)
        ]
        np.testing.assert_allclose(answers, want, rtol=1e-6, atol=1e-6)
        assert answers.shape[1] == defence.out_dim(dim) and rows is None


@pytest.mark.parametrize("name", ["b4b_reference", "b4b_reference_simsiam"])
def test_reference_as_released(name):
    # Noise behind the transform, in deviations, by centred buckets; another curve.
    raw, key, defence = answers_of(60, 9), key_of(3), DEFENCES[name]()
    request = request_of(raw)._replace(calibration=None)
    answers, state, _, notes = defence.apply(defence.init(9, key), request)
    coverage = np.array(slow_coverage(request.raw, 0, key, 12, 20))
    least, most = {"b4b_reference": (1e-6, 0.8)}.get(name, (1e-7, 1.0))
    sd = least * (np.exp(np.log(most / least) * coverage / 80) - 1)
    np.testing.assert_allclose(notes["noise"], sd, rtol=1e-9)
    # Nearly full: noise that is seen.
    late = state | {"occupied": np.full_like(state["occupied"], 0xFE)}
    answers, _, _, notes = defence.apply(late, request)
    assert notes["noise"].min() > 1
    random = np.random.default_rng([*key.tolist(), 1])
    factors, shift = random.uniform(-1, 1, (2, 9))
    pads = random.normal(size=9)
    order = random.permutation(18)
    for i, y in enumerate(request.raw.astype(float)):
        z = np.random.default_rng(request.keys[i]).normal(size=9)
        whole = [*((y + notes["noise"][i] * z) * factors + shift), *pads]
        np.testing.assert_allclose(answers[i], [whole[j] for j in order], rtol=1e-6)


# The sheet's table of noise against coverage, two digits.
TABLE = {
    (1e-6, 0.8): {30: 1.6e-4, 50: 4.9e-3, 60: 0.027, 70: 0.15, 80: 0.8, 100: 24.0},
    (1e-7, 1.0): {50: 2.4e-3, 80: 1.0, 100: 56.0},
}


@pytest.mark.parametrize("curve", TABLE)
def test_noise_against_coverage(curve):
    # A logarithm of another base, lambda and alpha exchanged, coverage as a share.
    for coverage, want in TABLE[curve].items():
        start, noise = curve
        sd = noise_at(np.array([float(coverage)]), start=start, noise=noise, knee=80.0)
        assert float(f"{sd[0]:.1e}") == want
    steep = noise_at(np.array([0.0, 100.0]), start=1e-6, noise=0.8, knee=1.0)
    assert steep[0] == 0 and np.isfinite(np.float32(steep)).all()


@pytest.mark.parametrize(("bits", "n"), [(12, 1000), (12, 9000), (8, 300), (5, 40)])
def test_buckets_of_random_bits(bits, n):
    # Buckets counted twice in a call or between calls, too few or too many of them.
    each, draws = 2**bits, 64
    drawn = np.random.default_rng(n).integers(0, each, (n, draws))
    occupied, last = no_buckets(bits, draws), 0.0
    for part in np.array_split(drawn, 3):
        coverage, occupied = cover(occupied, part)
        assert (np.diff([last, *coverage]) >= 0).all()
        last = coverage[-1]
    miss, two = (1 - 1 / each) ** n, (1 - 2 / each) ** n
    # Of the number of buckets that are met: mean, and variance of one draw.
    mean = each * (1 - miss)
    variance = each * miss + each * (each - 1) * two - (each * miss) ** 2
    error = last / 100 * each - mean
    assert abs(error) < 4 * np.sqrt(variance / draws)


@pytest.mark.parametrize("dim", [3, 20, 64])
def test_buckets_of_answers_without_direction(dim):
    # Planes that are alike, or not through the middle: fewer buckets than by chance.
    rows = np.random.default_rng(dim).normal(size=(2000, dim))
    found = buckets_of(rows, key_of(1), 8, 64)
    share = np.stack([np.bincount(f, minlength=256) for f in found.T]) / 2000
    assert abs((found[:, :, None] >> np.arange(8) & 1).mean() - 0.5) < 0.02
    assert share.shape == (64, 256)
    assert len({tuple(f) for f in found.T}) == 64
    assert (buckets_of(rows, key_of(2), 8, 64) != found).mean() > 0.8


@pytest.mark.parametrize(("dim", "out"), [(512, 512), (64, 240), (33, 7)])
def test_products_of_one_row_and_of_many(dim, out):
    # Last bits that depend on how a call was cut, and in the end a bucket.
    random = np.random.default_rng(dim)
    rows, matrix = random.normal(size=(50, dim)), random.normal(size=(dim, out))
    whole = each_by_itself(rows, matrix)
    for part in (slice(3, 4), slice(10, 17), slice(0, 49)):
        np.testing.assert_array_equal(each_by_itself(rows[part], matrix), whole[part])
    np.testing.assert_allclose(whole, rows @ matrix, atol=1e-9)


@pytest.mark.parametrize("law", HOLDS)
@pytest.mark.parametrize("transform", sorted(set(TRANSFORMS) - {"none"}))
def test_every_transform_keeps_the_laws(transform, law):
    # A product that depends on how many rows it has, shifts in absolute units.
    defence = DEFENCES["b4b"](**BASE | {"transform": transform})
    assert ("scaling" in defence.exempt) == (transform == "bits")
    if law in defence.exempt:
        with pytest.raises(AssertionError):
            HOLDS[law](lambda: defence, EXAMPLE)
        return
    HOLDS[law](lambda: defence, EXAMPLE)


@pytest.mark.parametrize("name", sorted(LATE))
def test_released_ones_break_the_law_of_order(name):
    # An exemption that is not needed: they come to it late.
    defence, request = DEFENCES[name](), request_of(answers_of(50, 9))
    half = {"occupied": np.full((20, 512), 0b00111111, np.uint8)}
    state = defence.init(9, key_of(0)) | half
    turned = request._replace(raw=request.raw[::-1], keys=request.keys[::-1])
    one, other = defence.apply(state, request)[0], defence.apply(state, turned)[0]
    assert np.abs(one - other[::-1]).max() > 1e-5


def spreads(defence, n=400, dim=12, seed=0):
    raw = answers_of(n, dim)[:, :-1]
    request = request_of(raw)
    state = defence.init(dim - 1, key_of(seed))
    return defence.apply(state, request)[0].astype(np.float32).std(axis=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pads_have_no_variance_only_where_noise_comes_before(seed):
    # Constant pads that the smallest noise leaves constant in float32.
    numbers = BASE | {"transform": "pad_shuffle", "bits": 12}
    assert (spreads(DEFENCES["b4b_reference"](), seed=seed) < 1e-6).sum() == 11
    ours = DEFENCES["b4b"](**numbers | {"start": 1e-6, "knee": 80.0})
    assert spreads(ours, seed=seed).min() > 0.01
    # Nor are they the columns of least variance: those are some of the victim's, too.
    order = np.random.default_rng([*key_of(seed).tolist(), 1]).permutation(22)
    least = np.argsort(spreads(ours, seed=seed))[:11]
    assert 2 <= (order[least] >= 11).sum() <= 9


@pytest.mark.parametrize("transform", sorted(set(TRANSFORMS) - {"bits"}))
def test_noise_is_on_every_column_in_its_own_deviation(transform):
    # Noise of the victim's deviations on columns that are larger or smaller; a column
    # without. What is expected of mixtures is met on average.
    raw = answers_of(3000, 6)[:, :-1]
    request = request_of(raw)
    made = [
        DEFENCES["b4b"](**BASE | {"transform": transform, "noise": noise, "knee": knee})
        for noise, knee in ((0.02, 100.0), (50.0, 1.0))  # next to none; the most
    ]
    clean, noisy = (d.apply(d.init(5, key_of(2)), request)[0] for d in made)
    share = (noisy - clean).std(axis=0) / clean.std(axis=0) / 1000
    exact = transform not in ("dense", "orthogonal")
    assert np.allclose(share, 1, atol=0.1) if exact else 0.5 < share.mean() < 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits": 17}, "b4b.bits must be a whole number from 3 to 16, not 17"),
        ({"bits": 2}, "b4b.bits must be a whole number from 3 to 16, not 2"),
        ({"draws": 0}, "b4b.draws must be a whole number from 1 to 64, not 0"),
        ({"start": 1.0}, "b4b.start is 1.0, and noise at the knee 1.0"),
        ({"start": 3.0}, "or noise never grows"),
        ({"knee": 101.0}, "b4b.knee must be 100 at most, not 101.0"),
        ({"transform": "affine"}, "b4b.transform 'affine'; known: bits, dense, diag"),
    ],
)
def test_numbers_that_are_wrong(change, says):
    # A strength that changes nothing, an error in a call that was paid for.
    with pytest.raises(UserError, match=says) as error:
        DEFENCES["b4b"](**BASE | change)
    assert "\n" not in str(error.value)


def test_bits_take_two_columns():
    # A line in a plane that there is not.
    defence = DEFENCES["b4b"](**BASE | {"transform": "bits"})
    with pytest.raises(UserError, match="takes two columns for a bit"):
        defence.out_dim(1)
    assert defence.out_dim(2) == 4
