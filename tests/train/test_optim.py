import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.train.optim import OPTIMISERS, make_optimiser

STEPS, WARMUP, RATE, DECAY, MOMENTUM, TRUST = 6, 2, 0.3, 0.1, 0.9, 0.02


def rate_at(step):
    """Linear warm-up, then half a cosine."""
    if step < WARMUP:
        return RATE * step / WARMUP
    return RATE * (1 + np.cos(np.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


def problem():
    draw = np.random.RandomState(0)
    params = {
        "kernel": draw.randn(3, 2),
        "bias": draw.randn(2),
        "zero": np.zeros((2, 2)),
    }
    grads = [
        {k: draw.randn(*v.shape) * (k != "zero") for k, v in params.items()}
        for _ in range(4)
    ]
    return params, grads


def ours(name, **changes):
    numbers = {
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "momentum": MOMENTUM,
        "trust_coefficient": TRUST,
        "decay_vectors": True,
        "warmup_steps": WARMUP,
        "steps": STEPS,
    }
    optimiser, _ = make_optimiser(name, **(numbers | changes))
    params, grads = problem()
    state, update = optimiser.init(params), jax.jit(optimiser.update)
    for grad in grads:
        updates, state = update(grad, state, params)
        params = jax.tree.map(np.add, params, updates)
    return params


def by_hand(rule, decays):
    """Each leaf on its own: ``rule(p, g, step, memory, decay) -> p``."""
    params, grads = problem()
    out = {}
    for key, p in params.items():
        memory = {}
        for step, grad in enumerate(grads):
            decay = DECAY if decays(p) else 0.0
            p = rule(p, grad[key], step, memory, decay)
        out[key] = p
    return out


def sgd(p, g, step, memory, decay):
    memory["v"] = MOMENTUM * memory.get("v", 0) + g + decay * p
    return p - rate_at(step) * memory["v"]


def adam(p, g, step, memory, decay):
    g = g + decay * p
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    m = memory["m"] / (1 - 0.9 ** (step + 1))
    v = memory["v"] / (1 - 0.999 ** (step + 1))
    return p - rate_at(step) * m / (np.sqrt(v) + 1e-8)


def adamw(p, g, step, memory, decay):
    return adam(p, g, step, memory, 0.0) - rate_at(step) * decay * p


def lars(p, g, step, memory, decay):
    g = g + decay * p
    if p.ndim > 1 and np.any(p) and np.any(g):
        g = g * TRUST * np.linalg.norm(p) / np.linalg.norm(g)
    # You et al. 2017: the rate enters the momentum.
    memory["v"] = MOMENTUM * memory.get("v", 0) + rate_at(step) * g
    return p - memory["v"]


def larc(p, g, step, memory, decay):
    rate = rate_at(step)
    size, slope = np.linalg.norm(p), np.linalg.norm(g)
    if p.ndim > 1 and size and slope:
        own = TRUST * size / (slope + decay * size + 1e-8)
        factor = min(own / rate, 1) if rate else 1
        g = factor * (g + decay * p)
    memory["v"] = MOMENTUM * memory.get("v", 0) + g
    return p - rate * memory["v"]


RULES = {"adam": adam, "adamw": adamw, "larc": larc, "lars": lars, "sgd": sgd}


def check(got, expected):
    start = problem()[0]
    for key in expected:
        # Schedules are float32.
        np.testing.assert_allclose(got[key], expected[key], rtol=2e-6, atol=1e-7)
    assert np.abs(expected["kernel"] - start["kernel"]).max() > 1e-3
    assert np.abs(expected["bias"] - start["bias"]).max() > 1e-3


def test_every_optimiser_has_a_rule():
    # Catches an optimiser added to the table without a test.
    assert set(RULES) == set(OPTIMISERS)


@pytest.mark.parametrize("name", RULES)
def test_steps_by_hand(float64, name):
    # Catches decay on the wrong side of the moments, dampening, a schedule that starts
    # a step late, trust ratios on biases, the order of rate and momentum.
    matrix = name in ("lars", "larc")
    check(ours(name), by_hand(RULES[name], lambda p: p.ndim > 1 or not matrix))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_vectors_may_be_spared(float64, name):
    # Catches an exclusion that excludes nothing, or the matrices.
    got = ours(name, decay_vectors=False)
    check(got, by_hand(RULES[name], lambda p: p.ndim > 1))
    assert np.abs(got["bias"] - ours(name)["bias"]).max() > 1e-4
    np.testing.assert_array_equal(got["kernel"], ours(name)["kernel"])


@pytest.mark.parametrize("trust", [0.02, 100.0])
def test_larc_has_a_ceiling(float64, trust, monkeypatch):
    # Catches a ratio that is not held to the schedule's rate.
    monkeypatch.setitem(globals(), "TRUST", trust)
    check(ours("larc", trust_coefficient=trust), by_hand(larc, lambda p: p.ndim > 1))
    if trust == 100.0:  # beyond the ceiling it is SGD
        plain = ours("sgd", decay_vectors=False)
        np.testing.assert_allclose(
            ours("larc", trust_coefficient=trust)["kernel"], plain["kernel"], rtol=1e-10
        )


def test_float32_stays_float32():
    # Catches a schedule in another precision that widens the weights.
    for name in OPTIMISERS:
        optimiser, _ = make_optimiser(
            name,
            learning_rate=RATE,
            weight_decay=DECAY,
            momentum=MOMENTUM,
            trust_coefficient=TRUST,
            warmup_steps=WARMUP,
            steps=STEPS,
        )
        params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        updates, _ = jax.eval_shape(
            optimiser.update, params, jax.eval_shape(optimiser.init, params), params
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {
            jnp.dtype("float32")
        }
