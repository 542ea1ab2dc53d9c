"""Detectors against slow references, and the laws of all of them."""

import numpy as np
import pytest

from sslx.service import DETECTORS
from sslx.service.detectors import cut, fit, judge
from sslx.service.detectors.coverage import filled
from sslx.service.detectors.detector import Detector, Scores, first_alarm, full, halves
from sslx.service.detectors.prada import BLOCK
from sslx.types import UserError
from tests.service.detectors import slow
from tests.service.detectors.people import DIM, features, honest, stream

# Of each entry numbers with which short streams have scores, and its reference.
SMALL = {
    "prada": ("prada", {"every": 7, "least": 20, "deviations": 2.0}, slow.prada),
    "mmd": ("mmd", {"window": 12, "step": 5, "references": 4}, slow.mmd),
    "similarity": ("similarity", {"pairs": 20, "tail": 0.3}, slow.similarity),
    "across": (
        "similarity",
        {"pairs": 20, "tail": 0.3, "most": 70},
        slow.across,
    ),
    "coverage": (
        "coverage",
        {"bits": 6, "draws": 3, "least": 10, "seed": 4},
        slow.coverage,
    ),
}
assert {name for name, _, _ in SMALL.values()} == set(DETECTORS)


def small(kind):
    name, numbers, _ = SMALL[kind]
    more = {"across": True} if kind == "across" else {}
    return DETECTORS[name](**numbers, **more)


def thieves(seed, n=60):
    """Views of few images, noise, a copied pool, the same image, and too few."""
    views = np.repeat(features(seed, n // 5), 5, axis=0)
    rng = np.random.default_rng(seed)
    return [
        stream("views", views + rng.normal(size=views.shape).astype(np.float32) / 50),
        stream("noise", np.abs(rng.normal(size=(n, DIM))).astype(np.float32), 0.3),
        stream("copy", views[::-1].copy(), 30.5),
        stream("retry", np.repeat(features(seed + 1, n // 3), 3, axis=0), 0.7),
        stream("short", features(seed + 2, 5), 2.0),
    ]


def together(scores):
    return [dict(zip(s.at.tolist(), s.values, strict=True)) for s in scores]


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("seed", [0, 100, 200])
def test_as_written_down(kind, seed):
    # Catches any number of a score that is not the reference's: members of another
    # set, a null of another statistic, buckets of raw features, pairs counted twice,
    # an alarm one query late.
    _, numbers, reference = SMALL[kind]
    detector = small(kind)
    people = honest(6, 40, first=seed)
    learned, others = halves(people)
    own = thieves(seed)
    found = together(detector.score(detector.learn(learned), own))
    wanted = reference(learned, own, **numbers)
    for got, want, s in zip(found, wanted, own, strict=True):
        assert list(got) == list(want), s.account
        np.testing.assert_allclose([*got.values()], [*want.values()], atol=1e-6)
    crowd = [*others, *learned] if kind == "across" else others
    highest = sorted(max(w.values()) for w in reference(learned, crowd, **numbers)[:3])
    fitted = fit(detector, people, rate=0.4)  # place ceil(4 * .6) = 3 of 3
    assert fitted.threshold == pytest.approx(highest[2], abs=1e-6)
    for got, want in zip(fitted.score(own), wanted, strict=True):
        # A hair above, so that rounding decides nothing.
        bar = fitted.threshold + 1e-7
        alarm = next((n for n, value in want.items() if value > bar), None)
        assert first_alarm(got, bar) == alarm


def test_more_queries_than_a_block():
    # Catches a block that sees only itself, or its own future.
    rows = features(1, BLOCK + 60)
    rows[BLOCK + 20] = rows[3]
    own, learned = [stream("a", rows)], [stream("h", features(2, BLOCK + 60))]
    for kind, numbers in (
        ("prada", {"every": 100, "least": 50, "deviations": 3.0}),
        ("similarity", {"pairs": 20, "tail": 0.3}),
    ):
        detector = DETECTORS[kind](**numbers)
        (found,) = together(detector.score(detector.learn(learned), own))
        (wanted,) = SMALL[kind][2](learned, own, **numbers)
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_past_alone_decides(kind, seed):
    # Catches a score that knows what is asked later: queries until detection would be
    # too few.
    detector = small(kind)
    known = detector.learn(honest(4, 40, first=10 * seed))
    whole = thieves(seed)
    until = whole[0].times[22 + seed]
    past = []
    for own in whole:
        n = np.searchsorted(own.times, until, side="right")
        past.append(own._replace(times=own.times[:n], features=own.features[:n]))
    for early, late in zip(
        detector.score(known, past), detector.score(known, whole), strict=True
    ):
        k = len(early.at)
        np.testing.assert_array_equal(early.at, late.at[:k])
        np.testing.assert_allclose(early.values, late.values[:k], atol=1e-9)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("c", [1e-3, 7.0, 1e5])
def test_the_scale_of_features_is_nothing(kind, c):
    # Catches a distance or a bar in absolute units.
    def scaled(streams):
        return [s._replace(features=s.features * np.float32(c)) for s in streams]

    people, own = honest(4, 40), thieves(3)
    one = fit(small(kind), people, rate=0.3)
    two = fit(small(kind), scaled(people), rate=0.3)
    # W of few distances feels the rounding of float32.
    assert two.threshold == pytest.approx(one.threshold, rel=1e-3, abs=1e-3)
    for a, b in zip(one.score(own), two.score(scaled(own)), strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", SMALL)
def test_who_sees_other_accounts(kind):
    # Catches state that is shared by accounts, and a link that nobody can see.
    detector = small(kind)
    known = detector.learn(honest(4, 40))
    own = thieves(5)
    alone = together(detector.score(known, own[2:3]))[0]
    beside = together(detector.score(known, own))[2]
    assert (alone != beside) == detector.across == (kind == "across")
    # Parts of one account are not strangers to each other.
    parts = detector.score(known, cut(own[:1], 30))
    if detector.across:
        assert not np.concatenate([s.values for s in parts]).any()


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        ("similarity", "views"),
        ("mmd", "noise"),
        ("across", "copy"),
        ("coverage", "wide"),
        ("coverage", "narrow"),
        ("prada", "views"),
    ],
)
def test_what_each_is_for(kind, who):
    # Catches a sign the wrong way round, and a detector of one tail.
    few = {"classes": range(3)}
    people = honest(16, 120, **few)
    own = {
        **{s.account: s for s in thieves(9, 120)},
        "wide": stream("wide", features(1, 120)),
        "narrow": stream("narrow", features(2, 120, classes=[1], spread=0.2)),
    }
    name = "similarity" if kind == "across" else kind
    more = {"across": True} if kind == "across" else {}
    more |= {"window": 40} if kind == "mmd" else {}
    more |= {"least": 30} if kind in ("prada", "coverage") else {}
    fitted = fit(DETECTORS[name](**more), people, rate=0.2)
    crowd = [own[who], own["views"]] if who == "copy" else [own[who]]
    verdict = judge(fitted, crowd, length=120)[who]
    assert verdict.alarm is not None and verdict.score > verdict.threshold
    assert 0 < verdict.alarm <= 120
    again = judge(fitted, honest(6, 120, first=50, **few), length=120)
    assert sum(v.alarm is not None for v in again.values()) <= 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clients_that_try_again(seed):
    # Catches retries taken for views, and a threshold that lets views pass as soon as
    # one honest client tries again.
    rng = np.random.default_rng(seed)
    people = [
        s._replace(features=s.features[np.sort(rng.integers(0, 60, 60))])
        for s in honest(8, 60, first=10 * seed)
    ]
    fitted = fit(DETECTORS["similarity"](), people, rate=0.1)
    own = [s for s in thieves(seed) if s.account in ("views", "retry")]
    verdicts = judge(fitted, own, length=60)
    assert verdicts["views"].alarm and not verdicts["retry"].alarm


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (40, 0.1), (9, 0.3), (4, 0.05)])
def test_thresholds_keep_their_rate(n, rate):
    # Catches a place one off, and a threshold set by what it is learned from.
    def score(known, streams):
        return [Scores(np.ones(1, np.int64), s.features[0, :1] * 1.0) for s in streams]

    toy = Detector(lambda streams: {}, score)
    rng = np.random.default_rng(n)
    wrong, times = 0, 3000
    for _ in range(times):
        values = rng.normal(size=2 * n + 1).astype(np.float32)
        people = [stream(f"h{i:02}", np.full((1, 1), v)) for i, v in enumerate(values)]
        wrong += values[0] > fit(toy, people[1:], rate=rate).threshold
    promised = max(rate, 1 / (n + 1))
    least = promised - 1 / (n + 1)
    deviation = np.sqrt(promised * (1 - promised) / times)
    assert least - 4 * deviation < wrong / times < promised + 4 * deviation


@pytest.mark.parametrize("n", [1, 100, 4000])
def test_buckets_of_random_bits(n):
    # Catches buckets that are counted twice or flow together.
    signs = np.random.default_rng(n).choice([-1.0, 1.0], (n, 12))
    draws = np.stack([np.eye(12)] * 3)
    count = filled(signs, draws)[-1]
    empty = (1 - 1 / 4096) ** n
    expected = 4096 * (1 - empty)
    two = (1 - 2 / 4096) ** n
    variance = 4096 * empty * (1 - empty) + 4096 * 4095 * (two - empty**2)
    assert abs(count - expected) <= 4 * np.sqrt(max(variance, 1e-9)) + 1e-6


def test_halves_and_parts():
    # Catches an account that sets the threshold it is judged by, a last part lost.
    people = honest(5, 25)
    first, second = halves(people)
    assert [s.account for s in first] == ["h00", "h02", "h04"]
    assert [s.account for s in second] == ["h01", "h03"]
    parts = cut(people[:1], 10)
    assert [(p.start, len(p.times)) for p in parts] == [(0, 10), (10, 10), (20, 5)]
    np.testing.assert_array_equal(
        np.concatenate([p.features for p in parts]), people[0].features
    )
    assert len(full(parts, 10)) == 2
    one, two = halves(parts)
    assert [p.start for p in one] == [0, 20] and [p.start for p in two] == [10]


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        ("prada", {"every": 0}, "prada.every must be 1 or more, not 0"),
        ("prada", {"least": 2}, "prada.least must be 3 or more, not 2"),
        ("prada", {"deviations": float("nan")}, "prada.deviations must be above 0"),
        ("mmd", {"window": 1}, "mmd.window must be 2 or more, not 1"),
        ("mmd", {"step": 0}, "mmd.step must be 1 or more"),
        ("mmd", {"references": 0}, "mmd.references must be 1 or more"),
        ("similarity", {"pairs": 0}, "similarity.pairs must be 1 or more"),
        ("similarity", {"tail": 1.5}, "similarity.tail must be in 0..1, not 1.5"),
        ("similarity", {"most": -1}, "similarity.most must be 1 or more"),
        ("coverage", {"bits": 63}, "coverage.bits must be in 1..62, not 63"),
        ("coverage", {"draws": 0}, "coverage.draws must be 1 or more"),
        ("coverage", {"least": 0}, "coverage.least must be 1 or more"),
        ("coverage", {"seed": -1}, "coverage.seed must be 0 or more"),
    ],
)
def test_wrong_numbers(name, numbers, says):
    # Catches a division by nothing later on.
    with pytest.raises(UserError, match=says):
        DETECTORS[name](**numbers)


@pytest.mark.parametrize(
    ("name", "people", "says"),
    [
        ("prada", honest(1, 300), "too few honest queries: 1 honest stream"),
        ("prada", honest(4, 50), "streams of 50 queries are too short"),
        ("mmd", honest(4, 199), "no stream fills a window of mmd, 200 queries"),
        ("similarity", honest(4, 2), "2 pairs, and similarity takes"),
        ("coverage", honest(4, 49), "coverage starts at coverage.least=50"),
        ("across", honest(2, 300), "too few honest accounts"),
        ("across", honest(3, 2), "4 pairs, and similarity takes 26"),
    ],
)
def test_too_little_to_learn_from(name, people, says):
    # Catches a threshold of nothing, and a traceback out of an empty array.
    across = {"across": True} if name == "across" else {}
    entry = DETECTORS["similarity" if across else name]
    with pytest.raises(UserError, match=says) as error:
        fit(entry(**across), people, rate=0.05)
    assert "\n" not in str(error.value)
