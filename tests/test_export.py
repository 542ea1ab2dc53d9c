import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import sslx
from sslx.cli.export import export, load
from sslx.types import UserError
from tests import tiny


@pytest.fixture(scope="module")
def victim(experiment):
    (path,) = (experiment / "victim").iterdir()
    return path


def test_arrays_come_back_equal(victim, tmp_path):
    # Catches a lost or renamed array, and one written in another memory order.
    file = tmp_path / "victim.safetensors"
    export(victim, file, head=True)
    found = load_file(file)
    variables = sslx.open_run(victim).variables()
    layers = {f"norm{i}/{k}" for i in (1, 2, 3) for k in ("scale", "bias")}
    layers |= {f"conv{i}/kernel" for i in (1, 2, 3)}
    names = {f"params/{layer}" for layer in layers}
    names |= {f"stats/norm{i}/{k}" for i in (1, 2, 3) for k in ("mean", "var")}
    head = {f"dense{i}/{k}" for i in (1, 2) for k in ("kernel", "bias")}
    assert set(found) == names | {f"head/params/projector/{k}" for k in head}
    for name, array in found.items():
        tree = variables if name.startswith("head/") else variables["encoder"]
        for key in name.split("/"):
            tree = tree[key]
        assert array.dtype == tree.dtype
        np.testing.assert_array_equal(array, tree)


def test_the_file_rebuilds_the_encoder(victim, tmp_path):
    # Catches metadata that lack something, and weights other than the run's.
    file = tmp_path / "victim.safetensors"
    export(victim, file)
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    assert metadata["run"] == f"victim/{victim.name}"
    assert metadata["fingerprint"] == victim.name[-10:]
    assert metadata["sslx"] == sslx.__version__
    assert (metadata["finished"], metadata["step"]) == ("true", "12")
    encoder, params, stats, meta = load(file)
    assert encoder.meta == {"name": "conv3", "kw": {"width": 8, "dtype": "float32"}}
    assert meta["image_shape"] == [12, 12, 1]
    images = np.random.RandomState(0).randint(0, 256, (5, 12, 12, 1)).astype(np.uint8)
    x = (images.astype(np.float32) / 255 - meta["mean"][0]) / meta["std"][0]
    features, _ = encoder.apply(params, stats, x, False)
    want = sslx.open_run(victim).embed(images)
    np.testing.assert_allclose(features, want, rtol=1e-4, atol=1e-5)
    assert "head" not in {name.split("/")[0] for name in load_file(file)}


def test_never_overwrites_unasked(victim, tmp_path, monkeypatch):
    # Catches a file lost to a second export, or cut short by a full disk.
    file = tmp_path / "there.safetensors"
    file.write_bytes(b"precious")
    with pytest.raises(UserError, match="exists; --force"):
        export(victim, file)

    def full(_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="disk full"):
            export(victim, file, force=True)
    assert file.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    export(victim, file, force=True)
    load(file)


def test_what_cannot_be_exported(experiment, tmp_path):
    # Catches tracebacks in place of a line that says what is missing.
    (responses,) = (experiment / "responses").iterdir()
    steal = next((experiment / "steal").iterdir())
    file = tmp_path / "x.safetensors"
    for run, head, expected in (
        (responses, False, "no encoder"),
        (steal, True, "has no head"),
        (tmp_path, False, "no run directory"),
    ):
        with pytest.raises(UserError, match=expected):
            export(run, file, head=head)
    with pytest.raises(UserError, match="no directory"):
        export(steal, tmp_path / "nowhere" / "x.safetensors")
    assert not list(tmp_path.iterdir())
    file.write_bytes(b"not one")
    for path in (file, tmp_path / "missing"):
        with pytest.raises(UserError, match="cannot be read as an encoder"):
            load(path)


def test_on_the_command_line(victim, tmp_path):
    # Catches a program that does not start, chatter of libraries, a wrong exit status.
    command = [
        sys.executable,
        "-m",
        "sslx",
        "export",
        victim,
        tmp_path / "v.safetensors",
    ]

    def run(*more):
        return subprocess.run(
            [*command, *more], cwd=tiny.ROOT, capture_output=True, text=True
        )

    done = run("--head")
    assert (done.returncode, done.stderr) == (0, "")
    assert "19 arrays, 11,336 numbers" in done.stdout
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sslx: ") and done.stderr.count("\n") == 1
