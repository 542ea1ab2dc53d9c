"""Noise, grids, largest numbers, fewer numbers, near duplicates: against slow ones."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sslx.service import calibrate, make_defence
from sslx.service.defences.defence import Request
from sslx.types import UserError
from tests.service.box import pictures
from tests.service.defended import embedded, ready, request_of
from tests.service.test_defences import MEMORY

N, D = 40, 7
RANDOM = np.random.default_rng(0)
RAW = np.maximum(RANDOM.normal(0.3, 1, (N, D)), 0).astype(np.float32)
RAW[:, 2] = 0  # a number that never moves
SIGNED = RANDOM.normal(size=(N, D)).astype(np.float32)
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
    amount = (lambda v: v) if name == "top_k_reference" else abs
    order = sorted(range(len(y)), key=lambda i: (-amount(y[i]), i))
    return [v if i in order[:k] else 0.0 for i, v in enumerate(y)]


NUMBERS = {"noise": {"sd": 0.3}, "round": {"step": 0.7}, "top_k": {"k": 3}}
NAMES = [
    *("noise", "noise_reference", "unit_noise_reference", "round", "round_reference"),
    *("top_k", "top_k_reference"),
]


@pytest.mark.parametrize("name", NAMES)
def test_against_a_slow_one(name):
    # Catches a strength that is absolute, halves rounded up, ties by the higher index,
    # a draw that goes by the place, a sign that is lost.
    for raw in (RAW, SIGNED):
        want = [slow(name, y, key) for y, key in zip(raw, KEYS, strict=True)]
        found, *_ = answered(name, NUMBERS.get(name), raw)
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


def standard(y):
    """An answer less the mean, in deviations, number by number."""
    known = zip(y, KNOWN.mean, KNOWN.deviation, strict=True)
    return [(float(v) - float(m)) / float(s) if s else 0.0 for v, m, s in known]


def slow_trees(raw, similarity):
    """Answers one after the other, the trees as dicts of texts, the bits as lists."""
    planes = np.random.default_rng(ACCOUNT).standard_normal((D, 8 * 59))
    trees, out = [{} for _ in range(8)], []
    for y, key in zip(raw, KEYS, strict=False):
        x = standard(y)
        dots = [sum(v * p for v, p in zip(x, plane, strict=True)) for plane in planes.T]
        bits = ["1" if dot > 0 else "0" for dot in dots]
        best = -1.0
        for j, tree in enumerate(trees):
            way = "".join(bits[59 * j : 59 * j + 59])
            for depth in range(60):
                place = tree.setdefault(way[:depth], [])
                for other in place:
                    apart = sum(a != b for a, b in zip(bits, other, strict=True))
                    best = max(best, float(np.cos(np.pi * apart / (8 * 59))))
                if len(place) < 16:
                    place.append(bits)
                    break
        pick = np.random.default_rng(key).integers(len(KNOWN.answers))
        out.append(KNOWN.answers[pick] if best > similarity else y)
    sizes = {
        int("1" + way, 2) * 8 + j: len(place)
        for j, tree in enumerate(trees)
        for way, place in tree.items()
    }
    return np.array(out), sizes


def kept(rows, past):
    """What a ledger does with rows."""
    for row in rows:
        past.setdefault(int(row[0]), []).append(row)
    return past


@pytest.mark.parametrize("similarity", [0.5, 0.9, 0.99])
def test_near_duplicates_against_slow_trees(similarity):
    # Catches a place that is filled past its room, bits in another order below than
    # above, rows of the same call not seen, a pick by place.
    raw = RANDOM.normal(size=(N, D)) * KNOWN.deviation + KNOWN.mean
    raw[N // 2 :] = raw[: N // 2] + 0.1 * RANDOM.normal(size=(N // 2, D))
    raw[5:9] = raw[4]
    raw = raw.astype(np.float32)
    numbers, past, state, found = {"similarity": similarity}, {}, None, []
    for i in range(0, N, 9):  # several calls, the last shorter
        out, state, rows, _ = answered(
            "near_duplicates", numbers, raw[i : i + 9], KEYS[i:], past, state
        )
        past = kept(rows, past)
        found.append(out)
    want, sizes = slow_trees(raw, similarity)
    np.testing.assert_allclose(np.concatenate(found), want, atol=1e-6)
    assert {bucket: len(rows) for bucket, rows in past.items()} == sizes
    assert 0 < (want != raw).any(axis=1).sum() < N


@cache
def filled(n):
    """After n answers of ten kinds, as an encoder's: they, what is known, the past."""
    random = np.random.default_rng(5)
    kinds = random.normal(size=(10, 64))[random.integers(10, size=n + 500)]
    rows = np.maximum(kinds + random.normal(size=kinds.shape), 0).astype(np.float32)
    raw, known = rows[:n], calibrate(rows[n:])
    request = request_of(raw, measured=known.answers)
    state = NEAR.init(64, ACCOUNT)
    return raw, known, state, kept(NEAR.apply(state, request)[2], {})


NEAR = make_defence(["near_duplicates"], {"near_duplicates": {"similarity": 0.9}})


@pytest.mark.parametrize("cosine", [0.99, 0.95, 0.85, 0.8])
def test_what_is_near_is_found_however_long_ago(cosine):
    # Catches a past of which only the beginning, or the end, is seen; with 0.9 asked,
    # those near it are a matter of luck, and those at 0.85 rarely above it.
    raw, known, state, past = filled(2000)
    random, scale = np.random.default_rng(6), np.maximum(known.deviation, 1e-9)
    z = (raw[::20] - known.mean) / scale
    away = random.normal(size=z.shape)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    away -= (away * z).sum(axis=1, keepdims=True) * z / length**2
    away *= length / np.linalg.norm(away, axis=1, keepdims=True)
    near = (cosine * z + np.sqrt(1 - cosine**2) * away) * scale + known.mean
    request = request_of(near, seed=7, measured=known.answers)
    request = request._replace(
        past=lambda buckets: [row for b in buckets for row in past.get(b, [])]
    )
    out, *_ = NEAR.apply(state, request)
    replaced = (out != near.astype(np.float32)).any(axis=1).mean()
    assert replaced > 0.9 if cosine > 0.9 else replaced < 0.1


def test_the_way_to_the_past_grows_as_its_logarithm():
    # Catches a search of all that was asked: the rows that an answer is compared with.
    looked = {}
    for n in (250, 2000):
        raw, known, state, past = filled(n)
        looked[n] = 0

        def look(buckets, n=n, past=past):
            rows = [row for bucket in buckets for row in past.get(bucket, [])]
            looked[n] += len(rows)
            return rows

        request = request_of(raw[:200:10] * 1.01, 8, known.answers)
        for i in range(20):  # one a call: each looks for itself
            one = request._replace(
                raw=request.raw[i : i + 1], keys=request.keys[i : i + 1], past=look
            )
            NEAR.apply(state, one)
    few, many = looked[250] / 20, looked[2000] / 20
    # 8 times the past: three more places of 16 in each of 8 trees.
    assert 8 * 16 < few < many < few + 1.5 * 3 * 16 * 8 < 2000


def test_repeats_that_are_fresh_average_out_and_stored_ones_do_not():
    # Catches fresh noise of one key, memoised noise that is drawn anew, an error that
    # shrinks by another law than 1/sqrt(m).
    images = pictures(12)
    for repeats in ("fresh", "memoised"):
        kw = {"repeats": repeats, "limit": None}
        defence = make_defence(["noise"], {"noise": {"sd": 0.5}})
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            service = ready(Path(folder) / "a", defence, **kw)
            # Of calls without a name keys are another each time this runs.
            noise = np.stack([service.query("a", images, str(i)) for i in range(64)])
            service.close()
        noise -= embedded(images)
        errors = {m: noise[:m].mean(axis=0).std() for m in (1, 4, 16, 64)}
        for m, error in errors.items():
            want = errors[1] * (m**-0.5 if repeats == "fresh" else 1)
            assert error == pytest.approx(want, rel=0.3 if repeats == "fresh" else 1e-6)


def test_the_first_stays_and_the_second_goes():
    # Catches the one that came first taken back, which no service can; and one that is
    # as far from nothing as two opposite ones are, which means of notes would show.
    twice = np.repeat(RAW[3:4] + 1, 2, axis=0)
    found, _, rows, notes = answered("near_duplicates", {"similarity": 0.9}, twice)
    np.testing.assert_array_equal(notes["nearest"], [0, 1])
    np.testing.assert_array_equal(found[0], twice[0])
    assert (found[1] != twice[1]).any() and len(rows) == 16


def test_the_studys_replacement_is_as_released():
    # Catches the first of two replaced, another call looked at, a key not used.
    raw = SIGNED[:12]
    raw = np.concatenate([raw, raw[3:5] * 2]).astype(np.float32)
    found, _, _, notes = answered("near_duplicates_reference", None, raw)
    for i, y in enumerate(raw):
        near = False
        for x in raw[:i]:
            dot = sum(float(a) * float(b) for a, b in zip(x, y, strict=True))
            both = sum(float(a) ** 2 for a in x) * sum(float(b) ** 2 for b in y)
            near = near or (dot / both**0.5 + 1) / 2 > 0.8
        draw = np.random.default_rng(KEYS[i]).standard_normal(D)
        want = [1000 + 0.5 * z for z in draw] if near else y
        np.testing.assert_allclose(found[i], want, atol=1e-6)
        assert notes["near"][i] == near
    assert notes["near"][12:].all() and 2 <= notes["near"].sum() < 12


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        ("top_k", {"k": D}, "top_k.k must be a whole number from 1 to 6.*not 7"),
        ("top_k", {"k": 0}, "top_k.k must be above 0, not 0"),
        ("truncate", {"width": 9}, "truncate.width must be .*not 9"),
        ("project", {"width": 0}, "project.width must be .*not 0"),
        ("near_duplicates", {"similarity": 1.0}, "similarity must lie between 0 and 1"),
        ("near_duplicates", {"similarity": 0.0}, "similarity must be above 0, not 0.0"),
        ("project", {"width": D}, "project.width must be .*not 7"),
        ("noise", {"sd": 0.0}, "noise.sd must be above 0, not 0.0"),
        ("noise", {"sd": 1e-9}, "noise.sd is 1e-09, which changes nothing"),
        ("round", {"step": -1.0}, "round.step must be above 0, not -1.0"),
        ("round", {"step": float("nan")}, "round.step must be above 0, not nan"),
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
