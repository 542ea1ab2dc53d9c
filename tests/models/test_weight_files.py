import argparse
import builtins
import gzip
import importlib.util
import io
import os
import pickle
import tarfile
import zipfile
from datetime import date

import numpy as np
import pytest
from safetensors.numpy import save_file

from sslx.models import from_torch, make_encoder, read_weights, to_torch
from sslx.types import UserError

ARRAYS = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "module.bn1.num_batches_tracked": np.int64(7),
}


class Evil:
    """Unpickled, it would make a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refusal(path):
    with pytest.raises(UserError) as error:
        read_weights(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def same(got):
    assert got.keys() == ARRAYS.keys()
    for name, want in ARRAYS.items():
        assert got[name].dtype == want.dtype and got[name].shape == want.shape
        assert np.array_equal(got[name], want)


def write(path):
    arrays = {name: np.asarray(x) for name, x in ARRAYS.items()}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file(arrays, path)
    else:
        torch = pytest.importorskip("torch")
        torch.save({n: torch.tensor(x) for n, x in arrays.items()}, path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pt", ".ckpt"])
def test_good_and_damaged(tmp_path, suffix):
    # Catches names or types changed on the way, and a library's traceback where a file
    # is cut short at any place, altered, or something else than its name says.
    path = tmp_path / f"w{suffix}"
    write(path)
    same(read_weights(path))
    same(read_weights(str(path)))
    whole = path.read_bytes()
    for cut in (1, 7, 8, 9, 30, len(whole) // 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert "not a readable" in refusal(path), cut
    path.write_bytes(b"not weights at all, whatever it is called" * 9)
    assert "not a readable" in refusal(path)
    path.write_bytes(b"")
    assert "is empty" in refusal(path)


NAMES = [
    "c.pth.tar",
    "c.tar",
    "c.th",
    "c.bin",
    "c.torch",
    "c.PTH",
    "c",
    "c.pth?download=1",
] + ["c.model", "c.weights", "c.pkl", "c.npz"]


@pytest.mark.parametrize("kind", [".npz", ".safetensors", ".pth", "legacy"])
def test_any_name(tmp_path, kind):
    # Catches a file judged by its name, in either direction.
    if kind == "legacy":
        torch = pytest.importorskip("torch")
        whole = tmp_path / "w"
        state = {n: torch.tensor(x) for n, x in ARRAYS.items()}
        torch.save(state, whole, _use_new_zipfile_serialization=False)
    else:
        whole = tmp_path / f"w{kind}"
        write(whole)
    for name in NAMES:
        path = tmp_path / name
        path.write_bytes(whole.read_bytes())
        same(read_weights(path))


def zipped(*names):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return box.getvalue()


def tarred(mode):
    box = io.BytesIO()
    with tarfile.open(fileobj=box, mode=mode) as file:
        file.addfile(tarfile.TarInfo("w.pth"))
    return box.getvalue()


def saved_array():
    box = io.BytesIO()
    np.save(box, np.ones(3))
    return box.getvalue()


OTHERS = {
    "a page": (b"\n<!DOCTYPE html><html><title>Quota exceeded", "is a web page; downl"),
    "an error as XML": (b"<?xml version='1.0'?><Error>NoSuchKey", "is a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "JSON": (b'{"message": "not found"}', "is JSON text"),
    "a tar": (tarred("w"), "is a tar archive of files; unpack it"),
    "a tar.gz": (tarred("w:gz"), "is compressed; unpack it"),
    "a tar.xz": (tarred("w:xz"), "is compressed; unpack it"),
    "gzip": (gzip.compress(b"PK"), "is compressed; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "is an archive"),
    "a zip": (
        zipped("run/w.pth", "run/log.txt"),
        r"archive of files \(run/w.pth, run/lo",
    ),
    "TorchScript": (zipped("m/data.pkl", "m/code/m.py"), "is TorchScript, a program"),
    "Keras": (b"\x89HDF\r\n\x1a\n\0\0", r"is HDF5 \(Keras"),
    "Keras 3": (
        zipped("config.json", "model.weights.h5"),
        r"\(config.json, model.weig",
    ),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "is MATLAB's"),
    "ONNX": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:", r"is a graph \(ONNX"),
    "TensorFlow's model": (b"\x08\x01\x12\xff\x01\x0a", "is a graph"),
    "TensorFlow's index": (b"\0" * 60 + bytes.fromhex("57fb808b247547db"), "TensorFl"),
    "Lua Torch": (b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0nn.Seq", r"Lua Torch's \(.t7"),
    "Flax": (b"\x82\xa6params\x81", "is msgpack"),
    "GGUF": (b"GGUF\3\0\0\0", "is GGUF"),
    "an array": (saved_array(), "is a single array"),
    "a pickle of 1": (b"ccollections\nOrderedDict\n", "is a plain pickle"),
    "a pickle of 5": (pickle.dumps({"w": 1}, protocol=5), "is a plain pickle"),
    "noise": (bytes(range(255, 100, -1)), "not a readable npz, safetensors or PyTorch"),
    "text": (b"see the other folder", "not a readable npz, safetensors or PyTorch"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_files(tmp_path, what):
    # Catches a file that is no file of weights called a damaged one, or read.
    content, expected = OTHERS[what]
    path = tmp_path / "resnet50.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_weights(path)
    refusal(path)


def test_a_name_that_says_more_than_the_content(tmp_path):
    # Catches part of a TensorFlow checkpoint, which begins with anything.
    path = tmp_path / "model.ckpt-100.data-00000-of-00001"
    path.write_bytes(b"{" * 99)
    assert "is TensorFlow's" in refusal(path)


@pytest.mark.parametrize("suffix", [".npz", ".pth.tar"])
def test_nothing_is_executed(tmp_path, suffix):
    # Catches allow_pickle=True and weights_only=False: the trap would snap.
    torch = importlib.util.find_spec("torch")
    trap = tmp_path / "executed"
    path = tmp_path / f"evil{suffix}"
    code = pickle.dumps({"conv1.weight": Evil(trap)}, protocol=2)
    pickle.loads(code)
    assert trap.exists()  # the pickle does what it is for
    trap.rmdir()
    path.write_bytes(code)
    told = refusal(path)
    assert not trap.exists()
    assert "a plain pickle, which is never loaded" in told
    with zipfile.ZipFile(path, "w") as file:  # as torch.save has it
        file.writestr("evil/data.pkl", code)
        file.writestr("evil/version", "3\n")
    told = refusal(path)
    assert ("more than arrays (posix.mkdir" in told) == (torch is not None)
    assert not trap.exists()


def test_npz_of_other_things(tmp_path):
    # Catches an object array unpickled, and an .npy or an empty archive under the name.
    trap, path = tmp_path / "executed", tmp_path / "w.npz"
    box = np.empty(1, object)
    box[0] = Evil(trap)
    np.savez(path, w=box)
    assert "not a readable npz file" in refusal(path)
    assert not trap.exists()
    plain = io.BytesIO()
    np.save(plain, np.ones(3))
    path.write_bytes(plain.getvalue())
    assert "a single array (.npy)" in refusal(path)
    np.savez(path)
    assert "holds no arrays" in refusal(path)


def test_places(tmp_path):
    # Catches a traceback for a directory, a missing file, an address.
    assert "is a directory" in refusal(tmp_path)
    assert "no file of weights" in refusal(tmp_path / "nowhere.pth")
    assert "cannot be read (File name too long)" in refusal(tmp_path / ("w" * 300))
    for address in ("https://host/w.pth", "gs://bucket/w.pth"):
        with pytest.raises(UserError, match="not on a file system of this machine"):
            read_weights(address)


def test_without_torch(tmp_path, monkeypatch):
    # Catches an ImportError where PyTorch is not installed, and torch asked for where
    # it is not needed.
    real = builtins.__import__

    def no_torch(name, *args, **kw):
        if name == "torch" or name.startswith("torch."):
            raise ImportError(name)
        return real(name, *args, **kw)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w/data.pkl", b"whatever")
    told = refusal(path)
    assert "pip install torch" in told and "save_file" in told
    for suffix in (".npz", ".safetensors"):
        write(path.with_suffix(suffix))
        same(read_weights(path.with_suffix(suffix)))


def test_checkpoints_of_pytorch(tmp_path):
    # Catches a checkpoint refused for its epoch and optimiser, bfloat16 that NumPy has
    # not, parameters on a graph, and a whole model or a list read for weights.
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.ckpt"
    model = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    state = {n: torch.nn.Parameter(x) for n, x in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "o": optimiser.state_dict()}, path)
    got = read_weights(path)
    assert got.keys() == {"state_dict.weight", "state_dict.bias"}
    got = got["state_dict.weight"]
    assert got.dtype == np.float32
    assert np.array_equal(got, model.weight.detach().float().numpy())
    torch.save(model, path)
    assert "torch.save(model.state_dict(), FILE)" in refusal(path)
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)}
    beside |= {"last": np.float32(0.5), "steps": [np.int64(3)], "to": path}
    for new in (True, False):
        torch.save(
            {"state_dict": state, **beside},
            path,
            _use_new_zipfile_serialization=new,
        )
        assert read_weights(path).keys() == {"state_dict.weight", "state_dict.bias"}
    for more in (np.ones(3), torch.nn.Linear, Evil(path), date(2026, 1, 1)):
        torch.save({"state_dict": state, "more": more}, path)
        assert "holds more than arrays (" in refusal(path)
    torch.save({"epoch": 3, "lr": [0.1]}, path)
    assert "no mapping of names to tensors" in refusal(path)
    torch.save({"w": torch.ones(3).to_sparse()}, path)
    assert "w is a tensor that is no plain array" in refusal(path)


def torch_resnet(torch, bottleneck):
    """ResNet-18 or -50 of width 8 as torchvision names it, with its ImageNet stem."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, c, width, stride):
            super().__init__()
            out = width * (4 if bottleneck else 1)
            plan = [(c, width, 3, stride), (width, width, 3, 1)]
            if bottleneck:
                plan = [(c, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
            for i, (a, b, size, step) in enumerate(plan, 1):
                conv = nn.Conv2d(a, b, size, step, size // 2, bias=False)
                setattr(self, f"conv{i}", conv)
                setattr(self, f"bn{i}", nn.BatchNorm2d(b))
            self.last, self.downsample = len(plan), None
            if stride > 1 or c != out:
                conv = nn.Conv2d(c, out, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))

        def forward(self, x):
            y = x
            for i in range(1, self.last + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                y = y if i == self.last else y.relu()
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    counts = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)
    net, c = nn.Sequential(), 8
    net.add_module("conv1", nn.Conv2d(3, 8, 7, 2, 3, bias=False))
    net.add_module("bn1", nn.BatchNorm2d(8))
    net.add_module("relu", nn.ReLU())
    net.add_module("maxpool", nn.MaxPool2d(3, 2, 1))
    for i, count in enumerate(counts):
        layer = nn.Sequential()
        for j in range(count):
            layer.append(Block(c, 8 * 2**i, 2 if i and not j else 1))
            c = 8 * 2**i * (4 if bottleneck else 1)
        net.add_module(f"layer{i + 1}", layer)
    net.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    return net


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_network_of_pytorch(name, tmp_path):
    # Catches what golden numbers cannot: names that PyTorch itself does not take, and
    # tensors of its own that from_torch does not.
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_resnet(torch, name == "resnet50")
    images = torch.randn(4, 3, 64, 64)
    theirs.train()(images)  # moves the running statistics
    theirs.eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    encoder = make_encoder(name, stem="imagenet", width=8)
    for state in (theirs.state_dict(), read_weights(tmp_path / "w.pth")):
        params, stats = from_torch(name, state, stem="imagenet")
    with torch.no_grad():
        want = theirs(images).numpy()
    nhwc = images.permute(0, 2, 3, 1).numpy()
    got, _ = encoder.apply(params, stats, nhwc, False)
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()
    back = to_torch(name, params, stats, stem="imagenet")
    again = torch_resnet(torch, name == "resnet50").eval()
    again.load_state_dict({n: torch.from_numpy(x) for n, x in back.items()})
    with torch.no_grad():
        assert torch.equal(again(images), theirs(images))
