"""The linear probe: its solver against others, its protocol by construction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import sslx.evals.linear as module
from sslx.evals.linear import classify, probe
from sslx.evals.solver import fit
from sslx.types import UserError

TIGHT = dict(tolerance=1e-8, max_iterations=1000)
LOOSE = dict(tolerance=1e-6, max_iterations=1000)
GRID = (1e-4, 1e-2, 1.0, 1e-3)


def blobs(n, d, classes, seed=0, distance=1.0):
    """Unequal classes, collinear columns, means far from 0: nothing is convenient."""
    rng = np.random.default_rng(seed)
    odds = 1.0 + np.arange(classes)
    labels = rng.choice(classes, n, p=odds / odds.sum())
    centres = distance * np.random.default_rng(99).standard_normal((classes, d))
    mixing = np.random.default_rng(98).standard_normal((d, d)) / (1 + np.arange(d))
    return (centres[labels] + rng.standard_normal((n, d))) @ mixing + 3, labels


def loss_of(weights, bias, features, labels, l2):
    log_p = jax.nn.log_softmax(features @ weights + bias[None])
    right = log_p[jnp.arange(len(labels)), labels]
    return -right.mean() + l2 / 2 * (weights**2).sum()


@pytest.mark.parametrize("d, l2", [(3, 1e-1), (12, 1e-2), (12, 1e-4)])
def test_optimum_of_scikit_learn(d, l2):
    # Catches: sum for mean, l2 for l2 / 2, a penalised bias, a stop before the optimum.
    features, labels = blobs(400, d, 4)
    ours = fit(features, labels, classes=4, l2=l2, **TIGHT)
    theirs = LogisticRegression(
        C=1 / (len(labels) * l2), solver="newton-cholesky", tol=1e-10, max_iter=1000
    ).fit(features, labels)
    weights, bias = theirs.coef_.T, theirs.intercept_
    with jax.enable_x64(True):
        least = float(loss_of(weights, bias, features, labels, l2))
    assert ours.converged and ours.gradient_norm <= 1e-8
    assert ours.loss == pytest.approx(least, rel=1e-9)
    # The optimum is unique but for a constant on every bias.
    np.testing.assert_allclose(
        ours.weights, weights - weights.mean(1)[:, None], 1e-5, 1e-6
    )
    np.testing.assert_allclose(ours.bias, bias - bias.mean(), 1e-5, 1e-6)


def test_bias_is_free():
    # Catches: a penalty on the bias. With weights held at 0 by a huge l2 the bias alone
    # must give the class frequencies.
    features, labels = blobs(300, 4, 3)
    ours = fit(features, labels, classes=3, l2=1e8, **TIGHT)
    p = np.exp(ours.bias) / np.exp(ours.bias).sum()
    np.testing.assert_allclose(p, np.bincount(labels) / len(labels), atol=1e-6)


def test_start_changes_iterations_only():
    # Catches: a start that is ignored, or taken transposed or in the wrong variables.
    features, labels = blobs(300, 4, 4)
    kwargs = dict(classes=4, **TIGHT)
    cold = fit(features, labels, l2=1e-3, **kwargs)
    warm = fit(features, labels, l2=1e-3, start=cold, **kwargs)
    other = fit(
        features,
        labels,
        l2=1e-3,
        start=fit(features, labels, l2=1.0, **kwargs),
        **kwargs,
    )
    assert warm.iterations <= 1 < cold.iterations
    np.testing.assert_allclose(other.weights, cold.weights, rtol=0, atol=1e-6)


def test_too_few_iterations_are_reported():
    # Catches: an unfinished solve passed off as the optimum, in fit and in probe.
    features, labels = blobs(300, 8, 4)
    short = dict(tolerance=1e-9, max_iterations=2)
    ours = fit(features, labels, classes=4, l2=1e-4, **short)
    assert not ours.converged and ours.gradient_norm > 1e-9 and ours.iterations <= 2
    kwargs = dict(classes=4, l2_grid=GRID, validation_fraction=0.2, seed=0)
    assert not probe(features, labels, features, **kwargs, **short).converged
    assert probe(features, labels, features, **kwargs, **LOOSE).converged


def run(features, labels, test, **change):
    kwargs = dict(
        classes=4, l2_grid=GRID, validation_fraction=0.25, seed=0, tolerance=1e-7
    )
    return probe(features, labels, test, max_iterations=1000, **kwargs | change)


def test_units_of_the_features_do_not_count():
    # Catches: features not standardised, or test features by other numbers.
    features, labels = blobs(300, 6, 4)
    test, _ = blobs(200, 6, 4, seed=1)
    scale, shift = 10.0 ** np.arange(-3, 3), np.arange(6) * 10.0 ** np.arange(-3, 3)
    plain = run(features, labels, test)
    moved = run(features * scale + shift, labels, test * scale + shift)
    assert plain.validation_accuracy == moved.validation_accuracy
    np.testing.assert_allclose(
        plain.solution.weights, moved.solution.weights, atol=1e-5
    )
    np.testing.assert_array_equal(plain.predictions, moved.predictions)


def test_constant_feature_counts_for_nothing():
    # Catches: a division by 0, and rounding blown up to a feature of variance 1.
    features, labels = blobs(300, 6, 4)
    features = features.astype(np.float32)
    rng = np.random.default_rng(0)
    constant = np.full(300, 0.1, np.float32)
    jitter = np.nextafter(
        constant, np.where(rng.random(300) < 0.5, 1, 0), dtype=np.float32
    )
    more = np.column_stack([features, constant, jitter])
    plain, ours = (
        run(features, labels, features),
        run(more, labels, more + np.float32(1)),
    )
    assert (ours.scale[-2:] == 0).all() and (ours.scale[:-2] > 0).all()
    assert (ours.solution.weights[-2:] == 0).all()
    np.testing.assert_allclose(
        ours.solution.weights[:-2], plain.solution.weights, atol=1e-5
    )


def test_last_fit_is_on_the_whole_split():
    # Catches: the fit without the validation part, or with its mean and deviation.
    features, labels = blobs(300, 6, 4)
    ours = run(features, labels, features)
    np.testing.assert_allclose(ours.mean, features.mean(0))
    np.testing.assert_allclose(ours.scale, 1 / features.std(0))
    standard = (features - features.mean(0)) / features.std(0)
    whole = fit(standard, labels, classes=4, l2=ours.l2, **TIGHT)
    np.testing.assert_allclose(ours.solution.weights, whole.weights, atol=1e-4)
    logits = standard @ whole.weights + whole.bias
    np.testing.assert_array_equal(ours.predictions, logits.argmax(1))


def test_a_given_strength_is_fitted_once(monkeypatch):
    # Catches rows held out or a second fit where nothing is chosen, features that are
    # not standardised, test rows standardised by themselves, test features unchecked.
    features, labels = blobs(400, 5, 3)
    train, test = features[:300], 2 * features[300:]
    settings = dict(classes=3, **TIGHT)
    expected = probe(
        train,
        labels[:300],
        test,
        l2_grid=(1e-2,),
        validation_fraction=0.2,
        seed=0,
        **settings,
    )
    fits = []
    monkeypatch.setattr(module, "fit", lambda *a, **k: fits.append(a) or fit(*a, **k))
    ours = classify(train, labels[:300], test, l2=1e-2, **settings)
    assert len(fits) == 1 and len(fits[0][1]) == 300
    np.testing.assert_array_equal(ours.predictions, expected.predictions)
    np.testing.assert_allclose(
        ours.solution.weights, expected.solution.weights, 1e-5, 1e-6
    )
    with pytest.raises(UserError, match="test features hold NaN"):
        classify(train, labels[:300], test * np.nan, l2=1e-2, **settings)


def test_validation_chooses_strong_l2_on_noise():
    # Catches: l2 chosen on the rows that were fitted, where the weakest always wins.
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1])
    noise = rng.standard_normal((400, 150))
    ours = run(noise, labels, noise)
    assert ours.l2 == 1.0 and ours.at_edge
    assert ours.validation_accuracy[1.0] > ours.validation_accuracy[1e-4] + 0.1
    assert list(ours.validation_accuracy) == sorted(GRID, reverse=True)


def test_validation_chooses_weak_l2_on_signal():
    # Catches: the strongest being taken whatever validation says. The class is the sign
    # of a small difference of two nearly equal features: only large weights see it.
    rng = np.random.default_rng(0)
    common, small = rng.standard_normal(2000), 0.02 * rng.standard_normal(2000)
    features = np.column_stack([common + small, common - small])
    labels = (small > 0).astype(int) + (common > 0) * 2
    grid = (1e-6, 1.0, 1e-2)
    ours = run(features, labels, features, l2_grid=grid)
    assert ours.l2 == 1e-6 and ours.at_edge


def test_ties_go_to_the_stronger():
    # Catches: the order of the grid in the config deciding between equal accuracies.
    features, labels = blobs(200, 4, 4, distance=200.0)
    for grid in (1e-3, 1e-2, 1e-4), (1e-2, 1e-4, 1e-3):
        ours = run(features, labels, features, l2_grid=grid)
        assert set(ours.validation_accuracy.values()) == {1.0}
        assert ours.l2 == 1e-2 and ours.at_edge
    # The best in the middle of the grid is not at its edge.
    order = iter([0.0, 1.0, 0.0])
    assert not _with_accuracies(order, features, labels).at_edge


def _with_accuracies(accuracies, features, labels):
    """The probe with validation accuracies dictated, strongest l2 first."""
    original, fitted = module._predict, module.validation_part
    rows = fitted(len(labels), 0.25, 0, None)

    def dictated(solution, given):
        accuracy = next(accuracies, None)
        if accuracy is None:
            return original(solution, given)
        return labels[rows] if accuracy else labels[rows] + 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_predict", dictated)
        return run(features, labels, features, l2_grid=(1e-3, 1e-2, 1e-4))


def test_test_features_do_not_enter_the_fit():
    # Catches: standardisation over training and test rows together.
    features, labels = blobs(200, 6, 4)
    one = run(features, labels, features[:50])
    two = run(features, labels, np.concatenate([features[:50], 1e3 * features[:9]]))
    np.testing.assert_array_equal(one.solution.weights, two.solution.weights)
    np.testing.assert_array_equal(one.predictions, two.predictions[:50])
    assert one.validation_accuracy == two.validation_accuracy


def test_groups_are_never_divided():
    # Catches: views of one picture on both sides, a part of the wrong size, no seed.
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(40) * 7, 3))
    parts = [module.validation_part(120, 0.25, seed, groups) for seed in (0, 0, 1)]
    assert not set(groups[parts[0]]) & set(groups[~parts[0]])
    assert parts[0].sum() == 30
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()
    assert module.validation_part(120, 0.25, 0, None).sum() == 30


def test_groups_reach_the_choice():
    # Catches: groups taken and not used. Each picture stands three times: divided, the
    # copies left in training tell the answer, and validation finds weak l2 perfect.
    rng = np.random.default_rng(0)
    labels, noise = rng.integers(0, 4, 60).repeat(3), rng.standard_normal((60, 200))
    noise = noise.repeat(3, 0)
    alone = run(noise, labels, noise)
    grouped = run(noise, labels, noise, groups=np.arange(60).repeat(3))
    assert alone.validation_accuracy[1e-4] > 0.9
    assert grouped.validation_accuracy[1e-4] < 0.6


FEATURES, LABELS = blobs(100, 3, 4)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(labels=LABELS + 1), "labels run from 1 to 4"),
        (dict(labels=LABELS - 1), "labels run from -1 to 2"),
        (dict(labels=LABELS * 0 + 2), "all of class 2"),
        (dict(validation_fraction=0.01), "holds out 1 of 100"),
        (dict(validation_fraction=-0.5), "holds out 0 of 100"),
        (dict(validation_fraction=1.0), "holds out 100 of 100"),
        (dict(features=np.where(FEATURES > 5, np.nan, FEATURES)), "training features"),
        (dict(test=np.full((1, 3), np.inf)), "test features hold NaN or infinity"),
        (dict(l2_grid=()), "every l2 must be above 0"),
        (dict(l2_grid=(1.0, 0.0)), "every l2 must be above 0"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    # Catches: wrong input that is fitted all the same (a label of -1 indexes).
    kwargs = dict(features=FEATURES, labels=LABELS, test=FEATURES) | change
    with pytest.raises(UserError) as error:
        run(**kwargs)
    assert message in str(error.value) and "\n" not in str(error.value)
