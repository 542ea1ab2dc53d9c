from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.attacks import ATTACKS
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives.distill import distill
from tests.engine import toy


def plain(key, images):
    return images.astype(jnp.float32)[:, None] / 255


def gradient(objective, batch, key):
    params, stats, extras = objective.init(jax.random.key(0), batch)

    @jax.jit
    def run(params):
        def loss(p):
            return objective.loss(p, stats, extras, batch, key)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return params, stats, *run(params)


def test_simclr_trains_everything():
    # Catches a detached projector or trunk, forgotten statistics, equal views.
    batch = {"images": jnp.asarray(toy.images(16))}
    _, stats, (_, out), grads = gradient(toy.objective(), batch, jax.random.key(1))
    assert set(grads) == {"encoder", "projector"}
    assert all(float(jnp.abs(g).max()) > 1e-6 for g in jax.tree.leaves(grads))
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), stats, out.stats)
    assert all(m > 0 for m in jax.tree.leaves(moved))


@pytest.mark.parametrize("dim", [16, 5])
def test_distill(dim):
    # Catches a gradient into the answers, a student that is not trained, a map that is
    # there when it need not be.
    objective = distill(
        make_encoder("conv3", width=4),
        plain,
        LOSSES["mse"],
        answer_dim=dim,
        dtype="float32",
    )
    answers = jax.random.normal(jax.random.key(2), (8, dim))
    batch = {"images": jnp.asarray(toy.images(8)), "answers": answers}
    params, stats, (value, _), grads = gradient(objective, batch, jax.random.key(1))
    assert set(params) == ({"encoder"} if dim == 16 else {"encoder", "adapter"})
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(grads["encoder"]))

    def of_answers(answers):
        batch_with = batch | {"answers": answers}
        return objective.loss(params, stats, {}, batch_with, jax.random.key(1))[0]

    assert float(jnp.abs(jax.grad(of_answers)(answers)).max()) == 0
    far = of_answers(answers + 10)
    assert far > value + 50  # the answers do enter the loss


def test_direct_plan():
    # Catches a query too many, an image asked twice, budgets that are not nested.
    plan = partial(ATTACKS["direct"].plan)
    small = plan(np.random.default_rng(0), 50, 20).rows
    large = plan(np.random.default_rng(0), 50, 50).rows
    assert len(small) == 20 and sorted(large) == list(range(50))
    assert np.array_equal(small, large[:20])
    assert not np.array_equal(large, plan(np.random.default_rng(1), 50, 50).rows)
    calls = plan(np.random.default_rng(0), 50, 20).calls(8)
    assert [len(rows) for _, rows in calls] == [8, 8, 4]
    assert len({name for name, _ in calls}) == 3
    assert np.array_equal(np.concatenate([rows for _, rows in calls]), small)
