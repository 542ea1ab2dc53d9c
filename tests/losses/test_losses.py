import jax.numpy as jnp
import numpy as np
import pytest

from sslx.losses import LOSSES
from tests.losses.cases import (
    CASES,
    HISTOGRAMS,
    KEYWORDS,
    PAIRS,
    labels,
    rows,
    value,
    value_and_grad,
)

# What does not change with the scale of both sides, and how little it does.
SCALE_FREE = {
    "barlow": 1e-3,
    "cosine": 1e-12,
    "energy": 1e-12,
    "infonce": 1e-12,
    "regression": 1e-12,
    "supcon": 1e-12,
    "wasserstein": 1e-12,
}
# Where one side is the target of the other.
ONE_WAY = {
    "bce",
    "bce_reference",
    "soft_cross_entropy",
    "soft_cross_entropy_reference",
}


def test_every_loss_has_a_case():
    # Catches a loss added to the table without a test.
    assert set(LOSSES) == set(KEYWORDS)


def naive_infonce(s, t, temperature):
    """Triple loop from the equation, one anchor after the other."""
    z = [*s, *t]
    b, total = len(s), 0.0
    unit = [row / np.linalg.norm(row) for row in z]
    for i in range(2 * b):
        partner = (i + b) % (2 * b)
        terms = [
            np.exp(unit[i] @ unit[k] / temperature) for k in range(2 * b) if k != i
        ]
        total -= np.log(np.exp(unit[i] @ unit[partner] / temperature) / sum(terms))
    return total / (2 * b)


def naive_softnn(s, t, temperature):
    z = [*s, *t]
    b, total = len(s), 0.0
    for i in range(2 * b):

        def closeness(k, i=i):
            return np.exp(-np.sum((z[i] - z[k]) ** 2) / temperature)

        everyone = sum(closeness(k) for k in range(2 * b) if k != i)
        total -= np.log(1e-9 + closeness((i + b) % (2 * b)) / everyone)
    return total / (2 * b)


def naive_barlow(s, t, off_diagonal):
    s, t = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (s, t))
    total, (b, d) = 0.0, s.shape
    for k in range(d):
        for m in range(d):
            c = sum(s[i, k] * t[i, m] for i in range(b)) / b
            total += (1 - c) ** 2 if k == m else off_diagonal * c**2
    return total


def naive_vicreg(s, t, invariance, variance, covariance):
    b, d = s.shape
    total = sum(np.sum((s[i] - t[i]) ** 2) for i in range(b)) * invariance / (b * d)
    for z in (s, t):
        z = z - z.mean(0)
        for k in range(d):
            deviation = np.sqrt(np.sum(z[:, k] ** 2) / (b - 1) + 1e-4)
            total += variance * max(0, 1 - deviation) / d
            for m in range(d):
                c = np.sum(z[:, k] * z[:, m]) / (b - 1)
                total += covariance * c**2 / d if k != m else 0
    return total


def naive_cosine(s, t):
    pairs = zip(s, t, strict=True)
    return -np.mean([a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs])


@pytest.mark.parametrize("seed,b,d", [(0, 7, 5), (1, 4, 9)])
def test_pairwise_and_statistics_against_loops(float64, seed, b, d):
    # Catches n for n - 1, a mean for a sum, the diagonal counted twice, one side's
    # variance or covariance left out.
    s, t = rows(seed, b, d)
    s, t = s * np.linspace(0.2, 1.5, d), t * np.linspace(1.2, 0.1, d)  # some below 1
    a, c = jnp.array(s), jnp.array(t)
    got = value("barlow", {"off_diagonal": 0.3}, a, c)
    np.testing.assert_allclose(got, naive_barlow(s, t, 0.3), rtol=1e-10)
    for weights in [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (2.0, 3.0, 5.0)]:
        kw = dict(zip(("invariance", "variance", "covariance"), weights, strict=True))
        got = value("vicreg", kw, a, c)
        np.testing.assert_allclose(got, naive_vicreg(s, t, *weights), rtol=1e-10)
    np.testing.assert_allclose(value("cosine", {}, a, c), naive_cosine(s, t))
    np.testing.assert_allclose(
        value("regression", {}, a, c), 2 + 2 * naive_cosine(s, t)
    )


@pytest.mark.parametrize("seed,temperature", [(0, 0.1), (1, 0.5), (2, 2.0)])
def test_against_loops(float64, seed, temperature):
    # Catches errors on sizes other than the golden file's.
    s, t = rows(seed)
    got = value("infonce", {"temperature": temperature}, jnp.array(s), jnp.array(t))
    np.testing.assert_allclose(got, naive_infonce(s, t, temperature), rtol=1e-12)
    got = value("softnn", {"temperature": temperature}, jnp.array(s), jnp.array(t))
    np.testing.assert_allclose(got, naive_softnn(s, t, temperature), rtol=1e-6)


def test_closed_forms(float64):
    # Catches a constant factor: mean over 2b anchors and 2b - 1 candidates.
    b = 6
    equal = jnp.ones((b, 4))
    np.testing.assert_allclose(
        value("infonce", {"temperature": 0.07}, equal, equal), np.log(2 * b - 1)
    )
    np.testing.assert_allclose(
        value("softnn", {"temperature": 3.0}, equal, equal),
        -np.log(1e-9 + 1 / (2 * b - 1)),
    )
    # Orthonormal rows, student = teacher: one similarity of 1, 2b - 2 of 0.
    eye = jnp.eye(b)
    np.testing.assert_allclose(
        value("infonce", {"temperature": 0.5}, eye, eye),
        np.log(1 + (2 * b - 2) * np.exp(-2)),
    )
    # Distances: 0 to the partner, 2 to all others.
    np.testing.assert_allclose(
        value("softnn", {"temperature": 0.5}, eye, eye),
        -np.log(1e-9 + 1 / (1 + (2 * b - 2) * np.exp(-4))),
    )
    assert value("mse", {}, jnp.zeros((3, 2)), jnp.full((3, 2), 3.0)) == 9.0
    # The same direction, the opposite one, a right angle.
    for other, cosine in ((3 * eye, 1), (-eye, -1), (eye[::-1], 0)):
        np.testing.assert_allclose(value("cosine", {}, eye, other), -cosine)
        np.testing.assert_allclose(value("regression", {}, eye, other), 2 - 2 * cosine)


def test_closed_forms_of_statistics(float64):
    # Catches features compared with the wrong partner, and a missing centring.
    barlow = {"off_diagonal": 0.5}
    vicreg = {"invariance": 2.0, "variance": 3.0, "covariance": 5.0}
    # Three columns of a Hadamard matrix: centred, orthogonal, of the same size.
    signs = jnp.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], jnp.float64)
    z = 1e4 * signs
    np.testing.assert_allclose(value("barlow", barlow, z, z + 7), 0, atol=1e-12)
    np.testing.assert_allclose(value("barlow", barlow, z, -z), 3 * 4)
    turned = jnp.roll(z, 1, axis=1)  # each feature correlates with another one
    np.testing.assert_allclose(value("barlow", barlow, z, turned), 3 + 0.5 * 3)
    np.testing.assert_allclose(value("vicreg", vicreg, z, z), 0, atol=1e-9)
    np.testing.assert_allclose(value("vicreg", vicreg, z, z + 7), 2 * 49)
    equal = jnp.ones((4, 3))
    np.testing.assert_allclose(value("barlow", barlow, equal, equal), 3)
    np.testing.assert_allclose(value("vicreg", vicreg, equal, equal), 3 * 2 * 0.99)
    # Variance 4/3 of each feature; three equal features covary in 6 places each side.
    same = jnp.repeat(signs[:, :1], 3, axis=1)
    covary = 2 * 6 * (4 / 3) ** 2 / 3
    np.testing.assert_allclose(value("vicreg", vicreg, same, same), 5 * covary)


@pytest.mark.parametrize("name,kw", [case for case in CASES if case[0] not in PAIRS])
def test_symmetries(float64, name, kw):
    # Catches rows compared with the wrong partner, the two sides exchanged, and
    # normalisation that is missing or that should not be there.
    kw = {k: 0.5 for k in kw}
    s, t = (jnp.array(x) for x in rows(3))
    if name in HISTOGRAMS:
        s, t = abs(s), abs(t)
    base = value(name, kw, s, t)
    order = jnp.array([3, 0, 6, 1, 5, 2, 4])
    moved = {"labels": labels(7)[order]} if name == "supcon" else {}
    again = value(name, kw, s[order], t[order], **moved)
    np.testing.assert_allclose(again, base, rtol=1e-12)
    if name in ONE_WAY:
        assert abs(value(name, kw, t, s) - base) > 1e-2
    else:
        np.testing.assert_allclose(value(name, kw, t, s), base, rtol=1e-12)
    if name == "soft_cross_entropy_reference":  # the published defect
        assert value(name, kw, s, -t) == base
    else:
        assert abs(value(name, kw, s[order], t) - base) > 1e-2
    scaled = value(name, kw, 2 * s, 2 * t)
    if name in SCALE_FREE:
        np.testing.assert_allclose(scaled, base, rtol=SCALE_FREE[name])
    else:
        assert abs(scaled - base) > 1e-3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name,kw", CASES)
@pytest.mark.parametrize("scale", [1e15, 1e4, 1.0, 1e-20])
def test_finite(float64, name, kw, scale, dtype):
    # Catches overflow of exponentials and of squares, 0/0 at zero norms and sums, the
    # infinite slope of a root at 0.
    if name == "vicreg" and (scale, dtype) == (1e15, jnp.float32):
        return  # its own value, a fourth power, is beyond float32
    s, t = (jnp.asarray(x * scale, dtype) for x in rows(4, 8))
    if name in HISTOGRAMS:
        s, t = abs(s), abs(t)
    zero = jnp.zeros_like(s)
    for a, b in [(s, t), (s, s), (s, -s), (zero, zero), (zero, t), (s, zero)]:
        if name in HISTOGRAMS:
            b = abs(b)
        got, grad = value_and_grad(name, kw, a, b)
        assert jnp.isfinite(got), (scale, got)
        assert jnp.all(jnp.isfinite(grad))
        assert got.dtype == dtype


def test_softnn_saturates_where_nothing_can_be_represented():
    # Catches inf - inf where the squares of the inputs overflow float32.
    s = jnp.array([[1e30, 0.0], [-1e30, 0.0]])
    got, grad = value_and_grad("softnn", {"temperature": 1.0}, s, -s)
    assert jnp.isfinite(got) and jnp.all(jnp.isfinite(grad))
    np.testing.assert_allclose(got, -np.log(1e-9), rtol=1e-4)


@pytest.mark.parametrize("name,kw", CASES)
def test_float32_is_close_to_float64(float64, name, kw):
    # Catches cancellation: distances of rows far from the origin.
    s, t = rows(5, 16, 32)
    # Sigmoids of 100 are 1, and a loss of 0 says nothing.
    both = (s, t) if name in ("bce", "bce_reference") else (s + 100, t + 100)
    exact = value(name, kw, *(jnp.asarray(x) for x in both))
    single = value(name, kw, *(jnp.asarray(x, jnp.float32) for x in both))
    np.testing.assert_allclose(single, exact, rtol=2e-4)


def test_top1(float64):
    # Catches a metric that counts the anchor itself or ties as right.
    eye = jnp.eye(4)
    assert LOSSES["infonce"](eye, eye, temperature=0.1)[1]["top1"] == 1
    assert LOSSES["infonce"](eye, eye[::-1], temperature=0.1)[1]["top1"] == 0
    equal = jnp.ones((4, 4))
    assert LOSSES["infonce"](equal, equal, temperature=0.1)[1]["top1"] == 0
