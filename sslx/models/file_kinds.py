"""What a file of weights is, by its content: people's endings say little."""

import re
import zipfile
from pathlib import Path

from sslx.types import UserError, refuse_if

_HEAD = 512  # bytes that are looked at
_LEGACY = bytes.fromhex("6cfc9c46f9206aa85019")  # torch.save's mark before 1.6
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp|\(lp|ccollections")
_WRITE = "write its arrays with numpy.savez(FILE, **arrays)"
_UNPACK = "unpack it and name the file of weights in it"
_AGAIN = "download it again"

# First bytes -> what such a file is, and what to do. Of these none is read.
_OTHERS = (
    (
        rb"(?:\xef\xbb\xbf)?\s*(?i:<!doctype|<!--|<html|<\?xml|<head)",
        "a web page",
        _AGAIN,
    ),
    (rb"version https://git-lfs", "a pointer of git-lfs, not the file", "git lfs pull"),
    (rb"\s*[{\[]", "JSON text", "name the file of the weights themselves"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd", "compressed", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c|Rar!", "an archive", _UNPACK),
    (rb"\x89HDF\r\n\x1a\n", "HDF5 (Keras, MATLAB)", _WRITE),
    (rb"MATLAB 5", "MATLAB's", _WRITE),
    (rb"GGUF", "GGUF", "convert it to safetensors"),
    (rb"\x93NUMPY", "a single array (.npy)", _WRITE),
    (rb"model_checkpoint_path", "TensorFlow's list of checkpoints", _WRITE),
    (
        rb"[\x03\x04]\0\0\0\x01\0\0\0",
        "Lua Torch's (.t7)",
        "convert it to PyTorch's state_dict",
    ),
    (
        rb"\x08[\x01-\x1f](\x12|\x1a|\x22|\x3a|\x42)",
        "a graph (ONNX, TensorFlow), whose names are not those of a network's weights",
        "take the state_dict that it was made from",
    ),
    (rb"[\x81-\x8f\xde]", "msgpack (Flax)", _WRITE),
)
_TENSORFLOW = re.compile(r".*\.(index|data-\d+-of-\d+|pb)")
_TABLE = bytes.fromhex("57fb808b247547db")  # the end of a TensorFlow .index


def kind_of(path: Path) -> str:
    """The format of a file that can be read: "npz", "safetensors" or "PyTorch".

    Raises:
        UserError: It is something else, and the message says what, and what to do; or
            no file at all, or an empty one.
    """
    try:
        refuse_if(
            path.is_dir(), f"{path} is a directory; name the file of weights in it"
        )
        refuse_if(not path.is_file(), f"no file of weights {path}")
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            file.seek(max(0, path.stat().st_size - len(_TABLE)))
            tail = file.read()
    except OSError as error:  # no leave to, a name too long
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    refuse_if(not head, f"{path} is empty; copy it again")
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _zipped(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return "safetensors"
    if _LEGACY in head[:32]:
        return "PyTorch"
    refuse_if(head[257:262] == b"ustar", f"{path} is a tar archive of files; {_UNPACK}")
    refuse_if(
        _PICKLE.match(head),
        f"{path} is a plain pickle, which is never loaded since it can execute code; "
        "where you trust it, load it yourself and write its arrays with "
        "numpy.savez(FILE, **arrays) or torch.save(state_dict, FILE)",
    )
    refuse_if(
        tail == _TABLE or _TENSORFLOW.fullmatch(path.name.lower()),
        f"{path} is TensorFlow's; {_WRITE}",
    )
    for pattern, what, advice in _OTHERS:
        refuse_if(re.match(pattern, head), f"{path} is {what}; {advice}")
    raise damaged(path, "npz, safetensors or PyTorch")


def _zipped(path: Path) -> str:
    """The format of a zip file, by the names of what is in it."""
    try:
        with zipfile.ZipFile(path) as file:
            names = [name for name in file.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise damaged(path, "zip (npz or PyTorch)") from None
    refuse_if(
        any(name.endswith("/constants.pkl") or "/code/" in name for name in names),
        f"{path} is TorchScript, a program; where you trust it, write its weights "
        "alone: torch.save(torch.jit.load(FILE).state_dict(), FILE)",
    )
    if any(re.fullmatch(r"(.*/)?data\.pkl", name) for name in names):
        return "PyTorch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    listed = ", ".join(names[:3]) + (", ..." if names[3:] else "")
    raise UserError(f"{path} is a zip archive of files ({listed}); {_UNPACK}")


def damaged(path: Path, kind: str) -> UserError:
    """The error for a file that is not what it begins as."""
    return UserError(
        f"{path} is not a readable {kind} file of arrays (cut short, or of another "
        "format); copy or write it again"
    )
