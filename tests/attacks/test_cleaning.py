"""What cleaning makes of defended answers, on answers whose truth is known."""

import numpy as np
import pytest

from sslx.attacks.cleaning import CLEANERS, Answered, Help

N, D, F = 200, 6, 5
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(N, F)).astype(np.float32)
TRUE = (FEATURES @ RANDOM.normal(size=(F, D)) + 3).astype(np.float32)


def never():
    raise AssertionError("not asked for")


def given(answers):
    """Answers (n, v, d) to images that show their own row."""
    images = np.arange(N, dtype=np.uint8).reshape(N, 1, 1, 1)
    asked = np.repeat(images[:, None], answers.shape[1], axis=1)
    return Answered(np.arange(N) + 7, images, asked, answers.astype(np.float32))


def clean(name, answers, numbers=None, **help):
    parts = {
        "accounts": np.zeros(answers.shape[:2], np.int64),
        "anchors": None,
        "features": never,
        "predicted": never,
        "defended": never,
        "random": np.random.default_rng(1),
    }
    return CLEANERS[name](given(answers), Help(**parts | help), **numbers or {})


def error(found):
    return float(np.sqrt(np.mean((found - TRUE) ** 2)))


@pytest.mark.parametrize("m", [4, 16, 64])
def test_the_mean_of_m_fresh_answers(m):
    # Catches a sum, a median of two, one answer taken for all: the error of the mean of
    # m answers is 1/sqrt(m) of one's.
    noise = np.random.default_rng(m).normal(size=(N, m, D))
    found = clean("mean", TRUE[:, None] + noise)
    assert found.answers.shape == (N, 1, D)
    np.testing.assert_array_equal(found.asked[:, 0], found.images)
    assert error(found.answers[:, 0]) * np.sqrt(m) == pytest.approx(1, rel=0.12)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_dithered_rounding_is_undone(step):
    # Catches a mean over what is rounded alike: between two steps lies what views that
    # differ by more than a step tell.
    rounded = np.round(TRUE / step) * step
    moved = np.random.default_rng(3).uniform(-step, step, (N, 64, D))
    views = np.round((TRUE[:, None] + moved) / step) * step
    assert error(clean("mean", views).answers[:, 0]) < 0.4 * error(rounded)


@pytest.mark.parametrize("views", [2, 4, 8])
def test_the_union_of_what_views_show(views):
    # Catches a mean over zeros that are no numbers: of two shown of six, views tell
    # more; a number that is shown has its value.
    random = np.random.default_rng(views)
    keep = np.argsort(random.random((N, views, D)), axis=2) < 2
    shown = np.where(keep, TRUE[:, None], 0)
    found = clean("union", shown).answers[:, 0]
    np.testing.assert_allclose(found[found != 0], TRUE[found != 0], rtol=1e-5)
    np.testing.assert_array_equal(found != 0, (shown != 0).any(axis=1))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_replaced_answers_are_left_out(share):
    # Catches the best kept out in place of the worst, rows that are then another's.
    random = np.random.default_rng(5)
    bad = random.permutation(N)[: round(share * N)]
    answers = TRUE + 0.1 * random.normal(size=TRUE.shape)
    answers[bad] = TRUE[np.roll(bad, 1)]
    help = {"features": lambda: FEATURES}
    found = clean("outliers", answers[:, None], {"share": share}, **help)
    assert len(found.rows) == N - len(bad)
    left = np.setdiff1d(np.arange(N), found.rows - 7)
    assert len(np.intersect1d(left, bad)) >= 0.8 * len(bad)
    np.testing.assert_array_equal(found.images.ravel(), found.rows - 7)
    np.testing.assert_array_equal(
        found.answers[:, 0], answers[found.rows - 7].astype("f4")
    )


@pytest.mark.parametrize("accounts", [1, 2, 3])
def test_factors_of_accounts_are_gone(accounts):
    # Catches one scale for all accounts, a number that never varies made infinite.
    random = np.random.default_rng(accounts)
    own = np.arange(N) % accounts
    factors = np.exp(random.normal(size=(accounts, D)))
    shifts = random.normal(size=(accounts, D))
    true = TRUE.copy()
    true[:, 0] = 3
    answers = true * factors[own] + shifts[own]
    found = clean("standardise", answers[:, None], accounts=own).answers[:, 0]
    want = clean("standardise", true[:, None], accounts=own).answers[:, 0]
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert not found[:, 0].any()
    np.testing.assert_allclose(want[own == 0, 1:].std(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_is_undone_where_nothing_was_done(seed):
    # Catches a network that redraws answers which were right.
    random = np.random.default_rng(seed)
    own, true = random.normal(size=(2, N, D)).astype(np.float32)
    help = {"features": lambda: own, "defended": lambda y: y}
    numbers = {"width": 64, "ridge": 1e-3}
    found = clean("recover", true[:, None], numbers, **help).answers[:, 0]
    assert np.abs(found - true).mean() < 0.1


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
def test_towards_predictions(weight):
    # Catches the weight on the wrong side, and views that lose what they differ in.
    answers = TRUE[:, None] + np.array([0.0, 1.0, -1.0])[None, :, None]
    found = clean(
        "predictions", answers, {"weight": weight}, predicted=lambda: 0 * TRUE
    )
    want = answers - weight * TRUE[:, None]
    np.testing.assert_allclose(found.answers, want, atol=1e-5)


# A cube and what it is of correlate by 0.77, a sum and its part by 0.45, a bit by 0.8.
@pytest.mark.parametrize(
    ("kind", "least"), [("cube", 0.82), ("sum", 0.85), ("bits", 0.85)]
)
def test_a_known_distortion_is_undone(kind, least):
    # Catches a network that learns nothing of the copy, or is not applied in the
    # victim's units: what is lost in part is found better than by the answers as they
    # are.
    own = np.random.default_rng(8).normal(size=(N, D)).astype(np.float32)
    spoil = {
        "cube": lambda y: y**3,
        "sum": lambda y: y + 2 * np.roll(y, 1, axis=1),
        "bits": lambda y: np.concatenate([y > 0, y > 0.5, y > -0.5], 1),
    }[kind]
    help = {"features": lambda: own, "defended": spoil}
    true = np.random.default_rng(9).normal(size=(N, D)).astype(np.float32)
    numbers = {"width": 64, "ridge": 1e-3}
    found = clean("recover", spoil(true).astype("f4")[:, None], numbers, **help)
    units = (x - x.mean(0) for x in (found.answers[:, 0], true))
    a, b = (x / x.std(0) for x in units)
    assert (a * b).mean() > least
