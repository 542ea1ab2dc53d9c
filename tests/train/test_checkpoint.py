import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.train import checkpoint
from sslx.types import UserError

TREE = {
    "params": {"dense": {"kernel": np.arange(12.0, dtype=np.float32).reshape(3, 4)}},
    "step": np.int32(5),
}


@pytest.fixture
def run(tmp_path):
    with checkpoint.open_store(tmp_path, keep=2) as save:
        for step in (1, 2, 3):
            tree = jax.tree.map(lambda x, s=step: jnp.asarray(x + s), TREE)
            save(step, {"state": tree, "encoder": tree["params"]})
    return tmp_path


def files(run, item):
    folder = run / "ckpt" / "3" / item
    return [p for p in folder.rglob("*") if p.is_file()]


def test_round_trip(run):
    # Catches a lost type, the wrong step, checkpoints that are never deleted.
    assert checkpoint.steps(run) == [2, 3]
    got = checkpoint.load(run, "state", TREE)
    jax.tree.map(
        np.testing.assert_array_equal, got, jax.tree.map(lambda x: x + 3, TREE)
    )
    assert got["step"].dtype == np.int32
    alone = checkpoint.load(run, "encoder", TREE["params"])
    np.testing.assert_array_equal(
        alone["dense"]["kernel"], got["params"]["dense"]["kernel"]
    )


def test_a_flipped_byte_never_passes(run):
    # Catches weights loaded without their digest: Orbax restores a flipped byte in
    # silence. Whatever byte of whatever file flips, the arrays are right or refused.
    want = checkpoint.load(run, "encoder", TREE["params"])["dense"]["kernel"]
    refused = 0
    for path in [*files(run, "encoder"), *files(run, "digest")]:
        original = path.read_bytes()
        for where in range(0, len(original), max(1, len(original) // 7)):
            flipped = bytearray(original)
            flipped[where] ^= 0x10
            path.write_bytes(flipped)
            try:
                got = checkpoint.load(run, "encoder", TREE["params"])
            except UserError as error:
                assert "\n" not in str(error)
                refused += 1
            else:
                np.testing.assert_array_equal(got["dense"]["kernel"], want)
        path.write_bytes(original)
    assert refused > 5


def test_damage_is_one_line_that_says_what_to_do(run):
    # Catches tracebacks of the library in place of a message.
    for path in files(run, "encoder"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="damaged; delete that folder"):
        checkpoint.load(run, "encoder", TREE["params"])
    shutil.rmtree(run / "ckpt" / "3")
    got = checkpoint.load(run, "state", TREE)  # goes on from the one before
    assert got["step"] == 7


@pytest.mark.parametrize(
    "like,message",
    [
        ({"dense": {"kernel": np.zeros((3, 5), np.float32)}}, r"kernel is \(3, 4\).*5"),
        (
            {"dense": {"bias": np.zeros(3, np.float32)}},
            "bias is missing.*kernel is not",
        ),
        ({"dense": {"kernel": np.zeros((3, 4), np.float16)}}, "float32, not.*float16"),
    ],
)
def test_other_architecture_names_the_leaves(run, like, message):
    # Catches loading that is not strict.
    with pytest.raises(UserError, match=message):
        checkpoint.load(run, "encoder", like)


def test_no_checkpoint(tmp_path):
    # Catches an index error.
    with pytest.raises(UserError, match="has no checkpoint"):
        checkpoint.load(tmp_path, "state", TREE)


def test_a_step_saved_twice_is_refused(tmp_path):
    # Catches a save that only returns False.
    with checkpoint.open_store(tmp_path, keep=2) as save:
        save(1, {"state": TREE})
        with pytest.raises(Exception, match="1"):
            save(1, {"state": TREE})


def test_digest_sees_names_types_shapes_and_bytes():
    # Catches a digest of the bytes alone.
    base = {"a": np.zeros(4, np.float32), "b": np.ones(2, np.float32)}
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].reshape(2, 2), "b": base["b"]},
        {"a": base["a"].view(np.int32), "b": base["b"]},
        {"a": base["a"], "b": np.array([1, 2], np.float32)},
    ]
    digests = {checkpoint.digest(tree) for tree in [base, *others]}
    assert len(digests) == 5
