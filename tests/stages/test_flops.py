"""What trainings cost, against counts by hand."""

import jax
import jax.numpy as jnp

from sslx.build import passes_of
from sslx.models.flops import count_flops, forward_flops
from sslx.stages.training import flops_of
from tests.report import fake_study as fake


def test_forward_flops_of_a_convolution():
    # Catches a count of the whole batch, or of one for a multiplication and a sum.
    # conv3 of width 8 on 8x8: 3x3 convolutions 1 -> 8 at stride 1, 8 -> 16 and 16 -> 32
    # at stride 2, padded by 1; products with the padding are not counted.
    def convolution(size, stride, into, out):
        places = range(0, size, stride)
        taps = sum(0 <= p + k < size for p in places for k in (-1, 0, 1))
        return 2 * taps**2 * into * out

    expected = (
        convolution(8, 1, 1, 8) + convolution(8, 2, 8, 16) + convolution(4, 2, 16, 32)
    )
    found = forward_flops(fake.ENCODER, fake.SHAPE)
    assert expected < found < 1.2 * expected  # the rest is normalisation and the like


def test_flops_are_counted_for_a_cpu():
    # Catches a count left to the default device: where that is an accelerator there is
    # none, or one that leaves its library's convolutions out.
    *_, other = jax.devices()
    lowered_for = []

    def convolution(images, kernel):
        lowered_for.append(jax.config.jax_default_device)
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=dimensions
        )

    kernel = jax.device_put(jnp.ones((3, 3, 3, 5)), other)  # drawn there otherwise
    with jax.default_device(other):
        images = jax.ShapeDtypeStruct((2, 10, 10, 3), jnp.float32)
        found = count_flops(convolution, images, kernel)
    assert found == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    assert lowered_for == jax.local_devices(backend="cpu")[:1] != [other]


def test_flops_without_a_cpu(monkeypatch):
    # Catches a report that fails where JAX was told to leave the CPU out.
    def none(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none)
    assert count_flops(jnp.sin, jax.ShapeDtypeStruct((2,), jnp.float32)) is None


def test_flops_of_trainings(tmp_path):
    # Catches FLOPs that leave the views out: 4 images, 10 steps; SimCLR sees two views
    # of each.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    v.recipe["augment"] = [{}, {}]
    t.recipe["augment"] = [{}]
    forward = forward_flops(fake.ENCODER, fake.SHAPE)
    assert passes_of(t) == 4 * 10 and passes_of(v) == 2 * 4 * 10
    assert flops_of(t) == 3 * forward * 4 * 10
    assert flops_of(v) == 2 * flops_of(t)
