"""Coverage beside that of an honest user: against a slow one, and who gets noise."""

from math import comb

import numpy as np
import pytest

from sslx.service import DEFENCES
from sslx.service.defences.coverage_ratio import QUERIES, expected
from sslx.types import UserError
from tests.service.defended import NUMBERS, key_of, request_of
from tests.service.test_b4b import answers_of, slow_coverage

BASE = NUMBERS["coverage_ratio"]
LARGE = BASE | {"bits": 10, "draws": 20, "allowed": 1.1, "start": 100.0}


def slow_expected(counts, n, each, draws):
    """By counts of each bucket of all draws, term by term."""
    counts = [int(c) for c in counts if c]
    once, twice = counts.count(1), counts.count(2)
    unseen = (n - 1) / n * once * (once - 1) / 2 / (twice + 1)
    unseen = min(unseen, each * draws - len(counts))
    out = []
    for k in map(int, QUERIES):
        if k <= n:
            seen = sum(1 - comb(n - c, k) / comb(n, k) for c in counts)
        else:
            seen = float(len(counts))
            if unseen:
                rate = once / (n * unseen + once)
                seen += unseen * (1 - (1 - rate) ** (k - n))
        out.append(100 * seen / each / draws)
    return np.array(out)


@pytest.mark.parametrize(
    ("n", "dim", "domain"), [(6, 3, 1.0), (40, 8, 0.3), (60, 12, 0.5)]
)
def test_coverage_ratio_as_in_words(n, dim, domain):
    # Expected coverage by samples with replacement, of one user alone, or of the number
    # of queries in a call; noise that falls again.
    raw, measured = answers_of(2 * n, dim, 2), answers_of(50, dim, 1)
    kw = {"bits": 6, "draws": 2, "domain": domain}
    defence = DEFENCES["coverage_ratio"](**BASE | kw)
    key = key_of(dim)
    state = defence.init(dim, key)
    mean = request_of(raw, 0, measured).calibration.mean
    planes = np.random.default_rng([*key.tolist(), 0]).normal(size=(dim, 12))
    known = measured.astype(np.float32).astype(float)
    curves = []
    for i in range(16):
        # Of 50: a centre each 49/15 images.
        centre = known[int(49 / 15 * i + 1e-9)]
        near = sorted(range(50), key=lambda r: (sum((known[r] - centre) ** 2), r))
        own = known[near[: round(domain * 50)]]
        bits = ((own - mean) @ planes > 0).reshape(-1, 2, 6)
        numbers = (bits * 2 ** np.arange(6)).sum(-1) + [0, 64]
        counts = np.bincount(numbers.ravel(), minlength=128)
        curves.append(slow_expected(counts, len(own), 64, 2))
    honest = np.mean(curves, axis=0)
    coverage = slow_coverage(raw.astype(np.float32), mean, key, 6, 2)
    worst, asked = 0.0, 0
    for part in (0, 1):
        request = request_of(raw[part * n :][:n], part, measured)
        answers, state, _, notes = defence.apply(state, request)
        for i, y in enumerate(request.raw.astype(float)):
            asked += 1
            at = np.searchsorted(QUERIES, asked)
            low = max(at - 1, 0)
            way = 0.0
            if at != low:
                way = np.log(asked / QUERIES[low]) / np.log(QUERIES[at] / QUERIES[low])
            usual = honest[low] ** (1 - way) * honest[at] ** way
            ratio = coverage[asked - 1] / usual
            worst = max(worst, max(ratio - 1.0, 0) * asked / (asked + 2))
            z = np.random.default_rng(request.keys[i]).normal(size=dim)
            want = y + worst * request.calibration.deviation * z
            np.testing.assert_allclose(notes["ratio"][i], ratio, rtol=1e-6)
            np.testing.assert_allclose(notes["noise"][i], worst, 1e-6, 1e-9)
            np.testing.assert_allclose(answers[i], want, rtol=1e-6, atol=1e-6)
    assert worst > 0


@pytest.mark.parametrize(("n", "draws"), [(100, 20), (300, 20), (300, 5)])
def test_what_is_expected_is_met(n, draws):
    # A curve that is off where it is measured, and up to three times as far. Buckets of
    # several sizes, as those of answers.
    random = np.random.default_rng(n)
    weights = random.exponential(size=256) ** 2
    drawn = random.choice(256, (100_000, draws), p=weights / weights.sum())
    curve = expected(drawn[:n], 256)
    for k in (10, n, 3 * n):
        rows = drawn[n:][: k * 30].reshape(30, k, draws)
        met = [len(set(r[:, m])) / 2.56 for r in rows for m in range(draws)]
        usual = np.interp(k, QUERIES, curve)
        assert abs(np.mean(met) / usual - 1) < (0.05 if k <= n else 0.12)


def traffic(n, seed, dim=16, groups=10):
    random = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(1).normal(size=(10, dim))
    which = random.integers(0, groups, n)
    return np.maximum(centres[which] + random.normal(size=(n, dim)), 0)


@pytest.mark.parametrize("n", [100, 300, 900])
def test_who_gets_noise(n):
    # Noise for whoever asks much; a ratio upside down; coverage that counts queries.
    defence = DEFENCES["coverage_ratio"](**LARGE)
    measured = traffic(1000, 2)
    noise = {}
    for name, raw in {
        "a domain": traffic(n, 3, groups=2),
        "all": traffic(n, 4),
        "anything": np.random.default_rng(5).normal(size=(n, 16)) * 3,
        "one cone": np.abs(np.random.default_rng(5).normal(size=(n, 16))) * 3,
    }.items():
        state = defence.init(16, key_of(0))
        notes = defence.apply(state, request_of(raw, 0, measured))[3]
        noise[name] = notes["noise"][-1]
    assert noise["a domain"] < 0.1 and noise["a domain"] < noise["all"]
    assert noise["anything"] > 0.1 and noise["anything"] > noise["all"]
    # What no honest user asks is not seen where its answers are alike.
    assert noise["one cone"] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits": 20}, "coverage_ratio.bits must be a whole number from 3 to 16"),
        ({"draws": 65}, "coverage_ratio.draws must be a whole number from 1 to 64"),
        ({"allowed": 0.9}, "allowed must be 1 or more, not 0.9"),
    ],
)
def test_numbers_that_are_wrong(change, says):
    # Noise for everybody, an error in a call that was paid for.
    with pytest.raises(UserError, match=says):
        DEFENCES["coverage_ratio"](**BASE | change)
