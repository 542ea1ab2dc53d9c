"""Small archives of the formats that the study's sets are published in."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import scipy.io

from sslx.data.sources.prepare import Archive

# Images of each split; a set's pixels are a function of its name and split alone.
COUNTS = {"train": 30, "test": 20, "extra": 10, "unlabelled": 10}
SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "stl10": (96, 96, 3)}


def pixels(name, split):
    """uint8 (n, h, w, c), different in every place and image."""
    shape = (COUNTS[split], *SHAPES.get(name, (32, 32, 3)))
    seed = int.from_bytes(f"{name} {split}".encode()[-4:], "big")
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def labels(name, split):
    """int (n,); all ten classes, in an order of their own."""
    return np.arange(COUNTS[split]) * 7 % 10


def _tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _cifar(name):
    prefix, columns = ("cifar-10-batches-bin", 1)
    members = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)]}
    members["test"] = ["test_batch.bin"]
    names = {"batches.meta.txt": 10}
    if name == "cifar100":
        prefix, columns = "cifar-100-binary", 2
        members = {"train": ["train.bin"], "test": ["test.bin"]}
        names = {"coarse_label_names.txt": 20, "fine_label_names.txt": 100}
    files = {
        f"{prefix}/{n}": "".join(f"{n[0]}{i}\n" for i in range(k)).encode() + b"\n"
        for n, k in names.items()
    }
    for split, parts in members.items():
        planes = pixels(name, split).transpose(0, 3, 1, 2).reshape(COUNTS[split], -1)
        fine = labels(name, split)[:, None].astype(np.uint8)
        coarse = (fine + 5) % 20
        heads = [coarse, fine][-columns:] if columns == 1 else [coarse, fine]
        rows = np.concatenate([*heads, planes], axis=1)
        for part, chunk in zip(parts, np.split(rows, len(parts)), strict=True):
            files[f"{prefix}/{part}"] = chunk.tobytes()
    return {"": _tar(files)}


def _svhn(name):
    out = {}
    for split in ("train", "test", "extra"):
        file = io.BytesIO()
        digits = labels(name, split)[:, None].astype(np.uint8)
        content = {
            "X": pixels(name, split).transpose(1, 2, 3, 0),
            "y": np.where(digits == 0, 10, digits),
        }
        scipy.io.savemat(file, content, do_compression=True)
        out[split] = file.getvalue()
    return out


def _stl10(name):
    files = {"stl10_binary/class_names.txt": b"".join(b"c%d\n" % i for i in range(10))}
    for split in ("train", "test", "unlabelled"):
        columns = pixels(name, split).transpose(0, 3, 2, 1).tobytes()
        part = "unlabeled" if split == "unlabelled" else split
        files[f"stl10_binary/{part}_X.bin"] = columns
        if split != "unlabelled":
            from_one = (labels(name, split) + 1).astype(np.uint8)
            files[f"stl10_binary/{part}_y.bin"] = from_one.tobytes()
    return {"": _tar(files)}


def _idx(name):
    def file(array):
        sizes = np.array(array.shape, ">i4").tobytes()
        head = b"\0\0\x08" + bytes([array.ndim])
        return gzip.compress(head + sizes + array.tobytes())

    out = {}
    for split in ("train", "test"):
        out[f"{split}_data"] = file(pixels(name, split)[..., 0])
        out[f"{split}_labels"] = file(labels(name, split).astype(np.uint8))
    return out


MAKERS = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "svhn_cropped": _svhn,
    "stl10": _stl10,
    "mnist": _idx,
    "fashion_mnist": _idx,
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        self.server.asked.append(self.path)
        super().do_GET()


@contextmanager
def published(name, folder):
    """Serves a set's archives; yields what TFDS would know of them, and the log.

    ``(archives, asked)``: ``archives`` as ``prepare.archives(name)`` gives them.
    """
    folder.mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(folder))
    )
    server.asked = []
    table = {}
    for key, content in MAKERS[name](name).items():
        filename = f"{key or name}.bin"
        (folder / filename).write_bytes(content)
        url = f"http://127.0.0.1:{server.server_port}/{filename}"
        sha = hashlib.sha256(content).hexdigest()
        table[key] = Archive(url, filename, len(content), sha)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield table, server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
