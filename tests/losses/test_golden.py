"""Against numbers that the study's published code printed."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.cases import HISTOGRAMS, interleaved, value_and_grad

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.npz"
NAMES = {"negative_cosine": "cosine", "bce_rounded_sigmoid": "bce_reference"}
NUMBER = {
    "infonce": "temperature",
    "softnn": "temperature",
    "supcon": "temperature",
    "barlow": "off_diagonal",
}
KEYS = [
    key.removesuffix("/grad_student")
    for key in np.load(GOLDEN).files
    if key.endswith("/grad_student")
]


def test_nothing_of_the_file_is_left_out():
    # Catches a file that is cut short, and a key that no test below would meet.
    inputs = {"student", "teacher", "labels", "pos_student", "pos_teacher"}
    files = set(np.load(GOLDEN).files)
    assert files == inputs | set(KEYS) | {f"{k}/grad_student" for k in KEYS}
    assert len(KEYS) == 13


@pytest.mark.parametrize("key", KEYS)
def test_golden_value_and_gradient(float64, key):
    # Catches any difference from the study's published code: the wrong temperature
    # side, a missing self mask, a sum for a mean, one direction only.
    golden = np.load(GOLDEN)
    name, _, number = key.partition("@")
    name = NAMES.get(name, name)
    kw = {NUMBER[name]: float(number)} if number else {}
    prefix = "pos_" if name in HISTOGRAMS else ""
    sides = (golden[prefix + side] for side in ("student", "teacher"))
    s, t = (jnp.asarray(x, jnp.float64) for x in sides)
    arrays = {"labels": jnp.asarray(golden["labels"])} if name == "supcon" else {}
    got, grad = value_and_grad(name, kw, s, t, **arrays)
    np.testing.assert_allclose(got, golden[key], rtol=1e-6)
    np.testing.assert_allclose(
        grad, golden[f"{key}/grad_student"], rtol=1e-6, atol=1e-6 * np.abs(grad).max()
    )


K = np.arange(24.0).reshape(4, 6)
S, S2 = np.abs(np.sin(1 + K)), np.abs(np.sin(1.3 + K))
V, V2 = np.abs(np.cos(0.5 + 2 * K)), np.abs(np.cos(0.7 + 2 * K))
PAIR = (interleaved(S, S2), interleaved(V, V2))  # two views of four images
TWICE = np.repeat([0, 1, 0, 1], 2)
# What the published functions gave in float32 for these inputs: the value, and the
# norm of the gradient with respect to the first view of the student.
PRINTED = [
    ("infonce_reference", {"temperature": 0.07}, PAIR, 2.4628246, 1.0059263),
    ("infonce_reference", {"temperature": 0.5}, PAIR, 2.5504308, 0.1263915),
    ("barlow_reference", {"off_diagonal": 0.0051}, PAIR, 0.0788536, 0.0893993),
    ("supcon", {"temperature": 0.07}, PAIR, 3.7347350, 0.5506099),
    ("infonce", {"temperature": 0.1}, (S, V), 1.9135430, 1.1117656),
    ("softnn", {"temperature": 1.0}, (S, V), 1.8333443, 0.7283689),
    ("wasserstein", {}, (S, V), 0.2506222, 0.2617385),
    ("energy", {}, (S, V), 0.1776097, 0.1672549),
    ("barlow", {"off_diagonal": 0.0051}, (S, V), 7.6234193, 18.9305229),
    ("bce_reference", {}, (S, V), 0.4284101, 0.0717432),
    ("soft_cross_entropy_reference", {}, (S, V), 1.7524667, 0.0498915),
    ("soft_cross_entropy", {}, (S, V), 1.8158762, 0.0729162),
]


@pytest.mark.parametrize("name,kw,sides,expected,norm", PRINTED)
def test_small_printed_values(float64, name, kw, sides, expected, norm):
    # Catches views paired in another way than the published code pairs them, another
    # row taken for the positive, a target that is detached.
    arrays = {"labels": jnp.asarray(TWICE)} if name == "supcon" else {}
    got, grad = value_and_grad(name, kw, *map(jnp.asarray, sides), **arrays)
    grad = grad[:: len(grad) // 4]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(grad), norm, rtol=2e-6)
