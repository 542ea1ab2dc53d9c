import jax
import jax.numpy as jnp
import pytest

from tests.train import toy


def gradient(objective, batch, key):
    params, stats, extras = objective.init(jax.random.key(0), batch)

    @jax.jit
    def run(params):
        def loss(p):
            return objective.loss(p, stats, extras, batch, key)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return params, stats, *run(params)


@pytest.mark.slow
def test_simclr_trains_everything():
    # Catches a detached projector or trunk, forgotten statistics, equal views.
    batch = {"images": jnp.asarray(toy.images(16))}
    _, stats, (_, out), grads = gradient(toy.objective(), batch, jax.random.key(1))
    assert set(grads) == {"encoder", "projector"}
    assert all(float(jnp.abs(g).max()) > 1e-6 for g in jax.tree.leaves(grads))
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), stats, out.stats)
    assert all(m > 0 for m in jax.tree.leaves(moved))
