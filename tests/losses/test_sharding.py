"""Losses of a batch that is spread over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.losses import LOSSES
from sslx.train.mesh import replicated, split_rows
from tests.losses.cases import CASES, HISTOGRAMS, rows


def compiled(names, devices, b, d):
    """``(student, teacher, labels) -> {case: (value, student gradient)}``."""
    cases = [(name, kw) for name, kw in CASES if name in names]

    def run(student, teacher, labels):
        found = {}
        for i, (name, kw) in enumerate(cases):
            given = kw | ({"labels": labels} if name == "supcon" else {})
            s, t = student, teacher
            if name in HISTOGRAMS:
                s, t = jnp.abs(s), jnp.abs(t)

            def loss(s, name=name, t=t, given=given):
                return LOSSES[name](s, t, **given)[0]

            found[f"{i} {name}"] = jax.value_and_grad(loss)(s)
        return found

    mesh = Mesh(
        np.array(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,)
    )
    split = split_rows(mesh)
    jitted = jax.jit(run, in_shardings=split, out_shardings=replicated(mesh))
    s, t = rows(0, b, d)
    given = jnp.asarray(s), jnp.asarray(t), jnp.arange(b) % 3
    return jitted.lower(*given).compile(), given


def test_one_and_eight_devices_agree(float64):
    # Catches a loss that sees its own device's rows or labels only.
    ends = []
    for devices in (1, 8):
        program, given = compiled(LOSSES, devices, 16, 6)
        ends.append(jax.device_get(program(*given)))
    assert len(ends[0]) == len(CASES)
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["infonce", "infonce_reference", "softnn", "supcon"])
def test_devices_share_the_work(name):
    # Catches rows stacked party by party: every device would compute all anchors.
    one, eight = (
        compiled({name}, n, 128, 32)[0].cost_analysis()["flops"] for n in (1, 8)
    )
    assert eight < one / 4
