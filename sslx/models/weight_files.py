"""Files of weights: ``.npz``, ``.safetensors``, and PyTorch's own. Executes nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sslx.models.file_kinds import damaged, kind_of
from sslx.models.torch_trunk import flatten_names
from sslx.models.torch_weights import from_torch
from sslx.runs.files import read_arrays
from sslx.runs.paths import local_path
from sslx.types import Params, UserError, refuse_if


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file by their names.

    Args:
        path: A file whose content, whatever its name, is of one of ``READERS``. Of a
            PyTorch checkpoint all arrays are read, those of its parts by names with
            dots between ("state_dict.conv1.weight"), bfloat16 as float32.

    Returns:
        Names to arrays, as the file has them; ``from_torch`` makes weights of them.

    Raises:
        UserError: No such file, a damaged file, one of another format, or one that
            holds anything but arrays and plain values (code above all).
    """
    path = local_path(path)
    arrays = READERS[kind_of(path)](path)
    refuse_if(not arrays, f"{path} holds no arrays")
    return arrays


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except ValueError:
        raise damaged(path, "npz") from None


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    # The last three: types that NumPy does not have.
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError):
        raise damaged(path, "safetensors") from None


# What often stands beside the weights and is not needed.
ASIDE = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "pathlib.PosixPath",
)


class _Aside:
    """Stands for one of ``ASIDE``: PyTorch may make it, and it does nothing."""

    def __new__(cls, *args: object) -> "_Aside":
        return super().__new__(cls)

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        to = path.with_suffix(".safetensors").name
        raise UserError(
            f"reading {path} needs PyTorch: pip install torch, or convert it where it "
            'is: python -c "import torch, safetensors.torch as s; '
            f"w = torch.load('{path.name}', 'cpu', weights_only=True); "
            "w = w.get('state_dict', w.get('model', w)); "
            f"s.save_file({{k: v.clone() for k, v in w.items()}}, '{to}')\""
        ) from None
    refuse_if(
        tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 6),
        f"PyTorch {torch.__version__} can be made to execute a file that it loads "
        f"(CVE-2025-32434); install 2.6 or later to read {path}, or convert it to "
        "safetensors",
    )
    try:
        with torch.serialization.safe_globals([(_Aside, name) for name in ASIDE]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage to a pickle can raise nearly anything
        code = re.search(r"(?i)unsupported (?:global: )?global (\S+)", str(error))
        refuse_if(
            code,
            f"{path} holds more than arrays ({code and code[1]}: settings, a whole "
            "model, other code) and was not loaded; where you trust it, write its "
            "weights alone: torch.save(model.state_dict(), FILE)",
        )
        raise damaged(path, "PyTorch") from None
    try:
        state = flatten_names(checkpoint)
        refuse_if(
            not state,
            "holds no mapping of names to tensors; write "
            "torch.save(model.state_dict(), FILE)",
        )
        return {name: _plain(name, x) for name, x in state.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _plain(name: str, tensor: Any) -> np.ndarray:
    """A tensor as an array; raises a UserError for one that is quantised or sparse."""
    try:
        narrow = str(tensor.dtype) == "torch.bfloat16"
        return (tensor.float() if narrow else tensor).detach().numpy()
    except (TypeError, RuntimeError, AttributeError) as error:
        what = str(error).splitlines()[0][:100]
        raise UserError(
            f"{name} is a tensor that is no plain array ({what}); write it again with "
            "float32 weights"
        ) from None


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    "npz": _npz,
    "safetensors": _safetensors,
    "PyTorch": _torch,
}


def _split(file: str) -> tuple[Path, str]:
    """File and part of ``FILE#PART``; a file whose name has a # goes first."""
    path = local_path(file)
    if path.exists() or "#" not in file:
        return path, ""
    name, _, part = file.rpartition("#")
    refuse_if(not part, f"{file}: write the name of a network in the file after '#'")
    return local_path(name), part


def read_trunk(
    file: str, encoder: dict[str, Any], told: Callable[[str], None] | None = None
) -> dict[str, Params]:
    """The item ``encoder`` of a checkpoint, from a file of weights.

    Args:
        file: As ``read_weights`` takes it; or ``FILE#PART``, of several networks in it
            the one under ``part`` (see ``from_torch``).
        encoder: ``Encoder.meta`` of the network that they are of.
        told: Is told what of the file was left aside; None for nobody.

    Raises:
        UserError: No such file, or not the weights of that network.
    """
    kw, (path, part) = encoder["kw"], _split(file)
    state = read_weights(path)
    own = {"stem": kw["stem"], "width": kw["width"], "part": part}
    try:
        params, stats = from_torch(encoder["name"], state, **own, told=told)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return {"params": jax.device_get(params), "stats": jax.device_get(stats)}
