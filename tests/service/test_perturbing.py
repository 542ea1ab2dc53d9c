"""Noise, grids, largest numbers, fewer numbers, near duplicates: against slow ones."""

import numpy as np
import pytest

from sslx.service import calibrate, make_defence
from sslx.service.defences.defence import Request
from sslx.types import UserError

N, D = 40, 7
RANDOM = np.random.default_rng(0)
RAW = np.maximum(RANDOM.normal(0.3, 1, (N, D)), 0).astype(np.float32)
RAW[:, 2] = 0  # a number that never moves
KNOWN = calibrate((RANDOM.normal(0.3, 1, (60, D)) * [1, 2, 0, 4, 5, 6, 7]).astype("f4"))
KEYS = RANDOM.integers(0, 2**32, (N, 8), np.uint32)
ACCOUNT = np.arange(8, dtype=np.uint32)


def answered(name, numbers=None, raw=RAW, keys=KEYS, past=None, state=None):
    """Answers, state, rows and notes of a defence, by itself."""
    defence = make_defence([name], {name: numbers or {}})
    wants = defence.wants
    kept = past or {}
    request = Request(
        images=np.zeros((len(raw), 1, 1, 1), np.uint8),
        hashes=[b""] * len(raw),
        raw=raw,
        keys=keys[: len(raw)] if "secret" in wants else None,
        calibration=KNOWN if "calibration" in wants else None,
        past=lambda buckets: [row for b in buckets for row in kept.get(int(b), [])],
    )
    state = defence.init(raw.shape[1], ACCOUNT) if state is None else state
    return defence.apply(state, request)


def slow(name, raw, key, k=3, step=0.7, sd=0.3):
    """One answer, number by number."""
    y = [float(v) for v in raw]
    length = sum(v * v for v in y) ** 0.5 or 1e-12
    draws = np.random.default_rng(key).standard_normal(len(y))
    if name == "noise":
        return [
            v + sd * s * z for v, s, z in zip(y, KNOWN.deviation, draws, strict=True)
        ]
    if name == "noise_reference":
        return [v + 5 + 0.5 * z for v, z in zip(y, draws, strict=True)]
    if name == "unit_noise_reference":
        return [v / length + 0.5 * z for v, z in zip(y, draws, strict=True)]
    if name == "round":
        grids = [step * float(s) for s in KNOWN.deviation]
        return [round(v / g) * g if g else v for v, g in zip(y, grids, strict=True)]
    if name == "round_reference":
        return [round(v / length, 1) for v in y]
    if name == "top_k_reference":
        y, k = [v / length for v in y], 5
    order = sorted(range(len(y)), key=lambda i: (-abs(y[i]), i))
    return [v if i in order[:k] else 0.0 for i, v in enumerate(y)]


NUMBERS = {"noise": {"sd": 0.3}, "round": {"step": 0.7}, "top_k": {"k": 3}}
NAMES = [
    *("noise", "noise_reference", "unit_noise_reference", "round", "round_reference"),
    *("top_k", "top_k_reference"),
]


@pytest.mark.parametrize("name", NAMES)
def test_against_a_slow_one(name):
    # Catches a strength that is absolute, halves rounded up, ties by the higher index,
    # a draw that goes by the place.
    want = [slow(name, y, key) for y, key in zip(RAW, KEYS, strict=True)]
    found, *_ = answered(name, NUMBERS.get(name))
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_halves_and_ties():
    # Catches another way to round, or to break ties, than the one that is written.
    one = calibrate(np.array([[-1.0] * 3, [1.0] * 3], np.float32))
    assert one.deviation[0] == 1
    raw = np.array([[0.5, 1.5, -2.5]], np.float32)
    defence = make_defence(["round"], {"round": {"step": 1.0}})
    request = Request(np.zeros((1, 1, 1, 1), np.uint8), [b""], raw, None, one, list)
    np.testing.assert_array_equal(defence.apply({}, request)[0], [[0, 2, -2]])
    again = request._replace(raw=defence.apply({}, request)[0].astype(np.float32))
    np.testing.assert_array_equal(defence.apply({}, again)[0], again.raw)
    equal = np.array([[1, -1, 1, 1]], np.float32)
    found, *_ = answered("top_k", {"k": 2}, equal)
    np.testing.assert_array_equal(found, [[1, -1, 0, 0]])


@pytest.mark.parametrize("k", [1, 3, 6])
def test_exactly_k_numbers(k):
    raw = RANDOM.normal(size=(20, D)).astype(np.float32)
    found, *_ = answered("top_k", {"k": k}, raw)
    assert ((found != 0).sum(axis=1) == k).all()


def test_noise_has_no_mean():
    # Catches a draw that is shared by keys, and a mean: over 10,000 keys it is within
    # four deviations of 0.
    keys = np.random.default_rng(3).integers(0, 2**32, (10_000, 8), np.uint32)
    raw = np.repeat(RAW[:1], len(keys), axis=0)
    found, *_ = answered("noise", {"sd": 1.0}, raw, keys)
    z = (found - raw)[:, KNOWN.deviation > 0] / KNOWN.deviation[KNOWN.deviation > 0]
    assert (np.abs(z.mean(axis=0)) < 4 / np.sqrt(len(keys))).all()
    np.testing.assert_allclose(z.std(axis=0), 1, atol=4 / np.sqrt(2 * len(keys)))


@pytest.mark.parametrize("width", [1, 3, 6])
def test_fewer_numbers(width):
    # Catches a map that is the same for two accounts, or another for each call.
    first, *_ = answered("truncate", {"width": width})
    np.testing.assert_array_equal(first, RAW[:, :width])
    found, state, *_ = answered("project", {"width": width})
    random = np.random.default_rng(ACCOUNT)
    matrix = random.standard_normal((D, width)) / width**0.5
    np.testing.assert_allclose(found, RAW.astype(float) @ matrix, atol=1e-6)
    part, *_ = answered("project", {"width": width}, RAW[5:9], state=state)
    np.testing.assert_array_equal(part, found[5:9])
    other = {"key": ACCOUNT + 1}
    assert not np.allclose(answered("project", {"width": width}, state=other)[0], found)


def near(raw, before, similarity):
    """Which answers are near one before them, by a loop over all pairs."""
    units, out = [], []
    for y in [*before, *raw]:
        x = [
            (float(v) - float(m)) / float(s) if s else 0.0
            for v, m, s in zip(y, KNOWN.mean, KNOWN.deviation, strict=True)
        ]
        length = sum(v * v for v in x) ** 0.5 or 1e-12
        units.append(np.array(x) / length)
    for i in range(len(before), len(units)):
        out.append(any(units[i] @ other > similarity for other in units[:i]))
    return np.array(out)


@pytest.mark.parametrize("similarity", [0.97, 0.99, 0.999])
def test_near_duplicates_against_all_pairs(similarity):
    # Catches answers compared within a call alone, rows that are not found again, a
    # replacement that is visible. (Hashes find what is this near with 4 tables of 12
    # planes but for few; none is found that is not near.)
    random = np.random.default_rng(4)
    old = random.normal(size=(30, D)).astype(np.float32) * KNOWN.deviation
    new = np.concatenate(
        [old[:10] * (1 + 1e-4), random.normal(size=(10, D)) * KNOWN.deviation]
    ).astype(np.float32)
    numbers = {"similarity": similarity}
    _, state, rows, _ = answered("near_duplicates", numbers, old)
    past = {}
    for row in rows:
        past.setdefault(int(row[0]), []).append(row)
    found, _, _, notes = answered(
        "near_duplicates", numbers, new, past=past, state=state
    )
    replaced = (found != new).any(axis=1)
    want = near(new, old, similarity)
    assert want[:10].all() and not (replaced & ~want).any()
    assert replaced.sum() >= 0.9 * want.sum()
    assert ((notes["nearest"] > similarity) == replaced).all()
    for answer in found[replaced]:
        assert (KNOWN.answers == answer).all(axis=1).any()


def test_the_first_stays_and_the_second_goes():
    # Catches the study's way: both gone, and the company deciding.
    twice = np.repeat(RAW[3:4] + 1, 2, axis=0)
    found, _, rows, _ = answered("near_duplicates", {"similarity": 0.9}, twice)
    np.testing.assert_array_equal(found[0], twice[0])
    assert (found[1] != twice[1]).any() and len(rows) == 8
    both, *_ = answered("near_duplicates_reference", None, twice)
    assert (both > 990).all()


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        ("top_k", {"k": D}, "top_k.k must be a whole number from 1 to 6.*not 7"),
        ("top_k", {"k": 0}, "top_k.k must be a whole number .*not 0"),
        ("truncate", {"width": 9}, "truncate.width must be .*not 9"),
        ("project", {"width": 0}, "project.width must be .*not 0"),
        ("near_duplicates", {"similarity": 1.0}, "similarity is 1, which no cosine"),
    ],
)
def test_what_changes_nothing_is_refused(name, numbers, says):
    with pytest.raises(UserError, match=says) as error:
        make_defence([name], {name: numbers}).out_dim(D)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("service.defence_kw.")


@pytest.mark.parametrize(
    "names", [("truncate", "noise"), ("project", "round"), ("round_reference", "noise")]
)
def test_chains_that_do_not_fit(names):
    # Catches a strength in units of numbers that are no longer there.
    numbers = {"noise": {"sd": 1.0}, "round": {"step": 1.0}}
    numbers |= {"truncate": {"width": 3}, "project": {"width": 3}}
    with pytest.raises(UserError, match=f"{names[1]!r} first"):
        make_defence(names, numbers)
    make_defence(names[::-1], numbers)
