"""Proof of work: what an account has learnt, the honest line, and the price."""

import numpy as np
import pytest

from sslx.rng import host_stream
from sslx.service import DEFENCES, Request, calibrate, make_defence, read_notes
from sslx.service.defences.proof_of_work import (
    USERS,
    at,
    honest_line,
    learn,
    standard,
)
from sslx.types import UserError
from tests.service.box import DIM, pictures
from tests.service.defended import NUMBERS, POOL, embedded, ready

NUMBER = {
    "sd": 0.7,
    "quantile": 0.9,
    "floor": 5.0,
    "doubling": 0.05,
    "most": 20.0,
    "call_size": 50,
}


def pow_of(**kw):
    return DEFENCES["proof_of_work"](**NUMBER | kw)


def drawn(n, d, seed=0, rank=None):
    """Features of a spectrum that falls, as an encoder's does."""
    random = np.random.default_rng(seed)
    basis = np.random.default_rng(9).normal(size=(d, d)) / np.arange(1, d + 1)
    return (random.normal(size=(n, d))[:, :rank] @ basis[:rank]).astype(np.float32)


@pytest.mark.parametrize(
    ("n", "d", "scale"), [(200, 12, 1), (40, 64, 1), (30, 5, 1e-3), (25, 7, 300)]
)
def test_gains_are_differences_of_slogdet(n, d, scale):
    # The inverse not updated, the gain of the answer after, or one that is not the
    # account's but the call's.
    z = np.random.default_rng(n).normal(size=(n, d)) * scale
    z[5] = z[4]  # what was known before
    whole = [np.linalg.slogdet(np.eye(d) + z[:i].T @ z[:i])[1] for i in range(n + 1)]
    inverse, gains = learn(np.eye(d), z)
    np.testing.assert_allclose(gains, np.diff(whole), rtol=1e-8, atol=1e-8)
    half, first = learn(np.eye(d), z[:10])
    again, second = learn(half, z[10:])
    np.testing.assert_array_equal(np.concatenate([first, second]), gains)
    np.testing.assert_array_equal(again, inverse)
    assert gains[5] < gains[4] and (gains > 0).all()


def slow_line(calibration, n):
    """The honest line after n images, by loops over the same users."""
    answers = calibration.answers.astype(float)
    m, d = answers.shape
    mean, deviation = (
        calibration.mean.astype(float),
        calibration.deviation.astype(float),
    )
    z = (answers - mean) / deviation / NUMBER["sd"]
    spectrum = np.linalg.eigvalsh(sum(np.outer(row, row) for row in z) / m)

    def expected(k):
        return sum(np.log(1 + k * value) for value in spectrum)

    random, drawn, k = host_stream(0, "honest line"), [], 1
    while 2 * k <= m:
        users = [slog(z[random.permutation(m)[:k]], d) for _ in range(USERS)]
        other, mean = 1 / k - 1 / m, sum(users) / USERS
        high = np.quantile(users, NUMBER["quantile"]) - mean
        drawn.append(((expected(k) - mean) / other, high / np.sqrt(other)))
        k *= 2
    low = min(int(np.log2(n)), len(drawn) - 1)
    part, high = np.log2(n) - low, min(low + 1, len(drawn) - 1)
    short, spread = (
        drawn[low][i] + part * (drawn[high][i] - drawn[low][i]) for i in (0, 1)
    )
    return expected(n) - short * (1 / n - 1 / m) + spread * np.sqrt(1 / n + 1 / m)


@pytest.mark.parametrize(("m", "d"), [(150, 6), (37, 50), (64, 3)])
def test_the_line_is_that_of_the_slow_reference(m, d):
    # A line that ends where the set does, or takes the set for all images there are.
    calibration = calibrate(drawn(m, d, 1))
    line = honest_line(calibration, sd=NUMBER["sd"], quantile=NUMBER["quantile"])
    for n in (1, 2, 8, m // 2, m, 1000, 2**20):
        place = round(8 * np.log2(n))  # a point of the line
        want = slow_line(calibration, 2 ** (place / 8))
        assert line[place] == pytest.approx(want, rel=1e-6)


def slow_prices(calls, answers, calibration):
    """Bits of each call, and what each image has taught, by the book."""
    line = honest_line(calibration, sd=NUMBER["sd"], quantile=NUMBER["quantile"])
    seen, bits, gains = [], [], []
    for rows in calls:
        share = 0.0
        if seen:
            place = 8 * np.log2(len(seen))
            part = place - int(place)
            honest = line[int(place)] ** (1 - part) * line[int(place) + 1] ** part
            share = max(0.0, slog(seen, 6) / honest - 1)
        each = min(NUMBER["most"], NUMBER["floor"] + share / NUMBER["doubling"])
        bits.append(each + np.log2(len(rows)))
        for row in rows:
            before = slog(seen, 6)
            z = (answers[row] - calibration.mean) / calibration.deviation
            seen.append(z / NUMBER["sd"])
            gains.append(slog(seen, 6) - before)
    return bits, gains


def slog(seen, d):
    z = np.reshape(seen, (-1, d)).astype(float)
    return np.linalg.slogdet(np.eye(d) + z.T @ z)[1]


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_prices_are_those_of_the_book(seed):
    # A price of the state after, of another account's, or of another place on the line.
    calibration = calibrate(drawn(150, 6, seed))
    wild = np.random.default_rng(seed).normal(size=(60, 6)).astype(np.float32) * 2
    answers = np.concatenate([drawn(40, 6, seed + 9), wild])
    calls = np.split(np.random.default_rng(seed).permutation(100), [1, 20, 23, 60])
    defence, want = pow_of(), slow_prices(calls, answers, calibration)
    state, bits, gains = defence.init(6, None), [], []
    for rows in calls:
        bits.append(defence.demand(state, len(rows)))
        asked = request(answers[rows], calibration)
        given, state, none, notes = defence.apply(state, asked)
        np.testing.assert_array_equal(given, answers[rows])
        assert none is None
        gains.extend(notes["learnt"])
    np.testing.assert_allclose(bits, want[0], rtol=1e-6)
    np.testing.assert_allclose(gains, want[1], rtol=1e-6, atol=1e-6)
    assert max(bits) > NUMBER["floor"] + np.log2(50)  # some are above the line


def request(raw, calibration):
    images = np.zeros((len(raw), 1, 1, 1), np.uint8)
    hashes = [bytes([i % 256]) * 32 for i in range(len(raw))]
    return Request(images, hashes, raw, None, calibration, lambda buckets: [])


def test_the_line_is_a_quantile_of_honest_users():
    # A mean, a line of ever the same quantile, or one that falls.
    calibration = calibrate(drawn(600, 8))
    honest = drawn(6000, 8, 1)
    z = standard(honest, calibration, NUMBER["sd"])
    for n in (8, 40, 150):
        users = [slog(z[i : i + n], 8) for i in range(0, 6000 - n, n)][:150]
        below = {
            q: np.mean(
                users < np.float64(at(honest_line(calibration, sd=0.7, quantile=q), n))
            )
            for q in (0.1, 0.9)
        }
        assert below[0.1] < 0.4 and below[0.9] > 0.7
    line = honest_line(calibration, sd=0.7, quantile=0.9)
    assert (np.diff(line) > 0).all()
    assert at(line, 1) == pytest.approx(line[0])
    assert at(line, 2**20) == pytest.approx(line[160])


@pytest.mark.parametrize("kind", ["honest", "wide", "again"])
def test_who_pays(kind):
    # Honest users dearer than the floor, thieves who pay no more, and the published
    # defect: one who asks what he knows is not to pay for being below the line.
    d, n = 8, 400
    calibration, defence = calibrate(drawn(600, d)), pow_of(quantile=0.95)
    answers = {
        "honest": drawn(n, d, 3),
        "wide": 4 * np.random.default_rng(3).normal(size=(n, d)).astype(np.float32),
        "again": np.repeat(drawn(4, d, 3), n // 4, axis=0),
    }[kind]
    state, bits = defence.init(d, None), []
    for part in np.split(answers, 10):
        bits.append(defence.demand(state, len(part)) - np.log2(len(part)))
        state = defence.apply(state, request(part, calibration))[1]
    if kind == "wide":
        assert bits[0] == pytest.approx(5) and bits[-1] == pytest.approx(20)
    else:
        assert max(bits) < 6
    if kind == "again":
        assert max(bits) == pytest.approx(5)


@pytest.mark.parametrize("value", [3.0, 3.3, 0.1, 0.7, -1234.5, 1e-9, 3e7])
def test_a_column_that_never_varies_teaches_nothing(value):
    # A division by zero, a price that is no number, or a deviation that is the rounding
    # of a mean: whatever that column says next would be a thousand deviations away.
    measured, more = drawn(60, 5), drawn(10, 5, 4)
    measured[:, 2] = value
    calibration, defence = calibrate(measured), pow_of()
    assert (calibration.deviation > 0).tolist() == [True, True, False, True, True]
    state, notes = learning(defence, more, calibration)
    assert np.isfinite(defence.demand(state, 3))
    more[:, 2] = value
    np.testing.assert_array_equal(notes, learning(defence, more, calibration)[1])
    still = calibrate(np.full((9, 5), value, np.float32))  # nothing varies: no line
    state = learning(defence, more, still)[0]
    assert defence.demand(state, 1) == 5


def learning(defence, answers, calibration):
    """The state after a first call, and what each answer taught."""
    state = defence.init(answers.shape[1], None)
    _, state, _, notes = defence.apply(state, request(answers, calibration))
    return state, notes["learnt"]


@pytest.mark.parametrize("size", [1e3, 1e6, 1e8, 1e30])
@pytest.mark.parametrize("d", [3, 16, 64])
def test_answers_far_away_leave_the_book_in_order(d, size):
    # An inverse that forgets all it knew when one answer is large: gains below 0, NaN,
    # or what was known before learnt again.
    calibration = calibrate(drawn(80, d))
    random = np.random.default_rng(d)
    far = (size * random.normal(size=(4, d))).astype(np.float32)
    near = drawn(30, d, 1)
    answers = np.concatenate([near[:20], far, near, far])
    state, gains = learning(pow_of(), answers, calibration)
    known = standard(answers, calibration, NUMBER["sd"])
    assert np.isfinite(gains).all() and (gains >= 0).all()
    whole = [slog(known[:i], d) for i in range(len(known) + 1)]
    np.testing.assert_allclose(gains, np.diff(whole), rtol=1e-4, atol=1e-6)
    assert float(state["learnt"]) == pytest.approx(slog(known, d), rel=1e-7)


@pytest.mark.parametrize("sizes", [(1e-30, 1e3), (1e-9, 1.0), (1e-4, 1e4)])
def test_a_column_that_hardly_moves_ruins_nobody(tmp_path, sizes):
    # An honest user's bill that is no number, since a column that was next to nothing
    # on the calibration is there on his images.
    small, large = sizes
    dead = embedded(pictures(50, seed=5))
    dead[:, 3] = 0
    dead[7, 3] = small  # one of fifty
    numbers = {"proof_of_work": NUMBERS["proof_of_work"] | {"call_size": 12}}
    service = ready(
        tmp_path / "a",
        make_defence(["proof_of_work"], numbers),
        embed=lambda images: embedded(images) * [1, 1, 1, large],
        calibration=calibrate(dead),
    )
    for i in range(3):
        service.query("a", pictures(12, seed=i), str(i))
    service.close()
    notes = read_notes(tmp_path / "a", "a", ["0", "1", "2"])
    most = np.log(1 + 1e8 * DIM)  # of one answer
    assert ((notes["learnt"] >= 0) & (notes["learnt"] < most)).all()
    assert (notes["learnt"][12:] < 3).all()
    assert (notes["hashes"] >= 2**3).all() and (notes["hashes"] <= 2**40).all()


@pytest.mark.parametrize("calls", [[[0, 1, 2, 3, 4]], [[0, 1], [2, 3, 4]]])
def test_what_it_is_exempt_from(tmp_path, calls):
    # Prices that would keep the laws: then it needs no exemption. Cut or in another
    # order, what is paid for an image is another; what is answered is the same.
    def paid(name, calls):
        service = ready(tmp_path / name, make_defence(["proof_of_work"], NUMBERS))
        given = [service.query("a", POOL[rows], str(i)) for i, rows in enumerate(calls)]
        service.close()
        notes = read_notes(tmp_path / name, "a", [str(i) for i in range(len(calls))])
        found = np.argsort(np.concatenate(calls))
        return np.concatenate(given)[found], np.asarray(notes["hashes"])[found]

    whole, price = paid("whole", calls)
    np.testing.assert_array_equal(whole, embedded(POOL[:5]))
    assert price.min() == pytest.approx(2**3)
    other, dearer = paid("cut", [[row] for row in range(5)])
    back, turned = paid("back", [[row] for row in range(4, -1, -1)])
    np.testing.assert_array_equal(whole, other)
    np.testing.assert_array_equal(whole, back)
    assert not np.allclose(price, dearer) and not np.allclose(dearer, turned)


@pytest.mark.parametrize("n", [7, 9, 12])
def test_a_large_call_is_refused_first(tmp_path, n):
    # A thief who has all in one call, at the price of its beginning; or a refusal when
    # the victim has worked. Images that are known do not count.
    given = []

    def embed(images):
        given.append(len(images))
        return embedded(images)

    defence = make_defence(["proof_of_work"], NUMBERS)
    service = ready(tmp_path / "a", defence, embed=embed)
    with pytest.raises(UserError, match=rf"a call asks {n} new .*call_size lets 6 "):
        service.query("a", POOL[:n])
    assert not given and service.counters("a").images == 0
    service.query("a", POOL[:6])
    service.query("a", POOL[[*range(6), 7, 8]])
    assert given == [6, 2]
    service.close()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"quantile": 1.0}, "quantile"),
        ({"most": 5.0}, "most"),
        ({"most": 65.0}, "most"),
        ({"floor": 30.0}, "most"),
    ],
)
def test_numbers_that_leave_nothing_to_choose(changes, key):
    # A price that cannot rise, a line that nobody is above.
    with pytest.raises(
        UserError, match=rf"^service.defence_kw.proof_of_work.{key}"
    ) as e:
        make_defence(["proof_of_work"], {"proof_of_work": NUMBER | changes})
    assert "\n" not in str(e.value)
