"""Files of weights: ``.npz``, ``.safetensors``, and PyTorch's own. Executes nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sslx.models.torch_names import unwrap
from sslx.models.torch_weights import from_torch
from sslx.registry import pick
from sslx.runs.files import read_arrays
from sslx.runs.paths import local_path
from sslx.types import Params, UserError, refuse_if


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file by their names.

    Args:
        path: A file that ends in one of ``READERS``. Of a PyTorch checkpoint its
            ``state_dict`` or ``model`` is read, bfloat16 as float32.

    Returns:
        Names to arrays, as the file has them; ``from_torch`` makes weights of them.

    Raises:
        UserError: No such file, an unknown ending, a damaged file, one of another
            format, or one that holds anything but arrays (code above all).
    """
    path = local_path(path)
    refuse_if(path.is_dir(), f"{path} is a directory; name the file of weights in it")
    refuse_if(not path.is_file(), f"no file of weights {path}")
    read = pick(READERS, path.suffix.lower(), "ending of a file of weights")
    refuse_if(path.stat().st_size == 0, f"{path} is empty; copy it again")
    arrays = read(path)
    refuse_if(not arrays, f"{path} holds no arrays")
    return arrays


def _damaged(path: Path, kind: str) -> UserError:
    return UserError(
        f"{path} is not a readable {kind} file of arrays (cut short, or of another "
        "format); copy or write it again"
    )


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except ValueError:
        raise _damaged(path, "npz") from None


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    # The last three: types that NumPy does not have.
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError):
        raise _damaged(path, "safetensors") from None


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        to = path.with_suffix(".safetensors").name
        raise UserError(
            f"reading {path} needs PyTorch: pip install torch, or convert it where it "
            'is: python -c "import torch, safetensors.torch as s; '
            f"w = torch.load('{path.name}', 'cpu', weights_only=True); "
            "s.save_file({k: v.clone() for k, v in w.get('state_dict', w).items()}, "
            f"'{to}')\""
        ) from None
    refuse_if(
        tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 6),
        f"PyTorch {torch.__version__} can be made to execute a file that it loads "
        f"(CVE-2025-32434); install 2.6 or later to read {path}, or convert it to "
        "safetensors",
    )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage to a pickle can raise nearly anything
        if "unsupported global" in str(error).lower():
            raise UserError(
                f"{path} holds more than arrays (settings, a whole model, other code) "
                "and was not loaded; where you trust it, write its weights alone: "
                "torch.save(model.state_dict(), FILE)"
            ) from None
        raise _damaged(path, "PyTorch") from None
    state = unwrap(checkpoint) if isinstance(checkpoint, Mapping) else {}
    odd = [str(name) for name, x in state.items() if not isinstance(x, torch.Tensor)]
    refuse_if(
        odd or not state,
        f"{path} holds no mapping of names to tensors (but {', '.join(odd[:5])}); "
        "write torch.save(model.state_dict(), FILE)",
    )
    try:
        return {
            str(name): (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()
            for name, x in state.items()
        }
    except (TypeError, RuntimeError) as error:  # quantised, sparse, 8-bit floats
        what = str(error).splitlines()[0][:100]
        raise UserError(
            f"{path} holds tensors that are no plain arrays ({what}); write it again "
            "with float32 weights"
        ) from None


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pth": _torch,
    ".pt": _torch,
    ".ckpt": _torch,
}


def read_trunk(
    file: str, encoder: dict[str, Any], told: Callable[[str], None] | None = None
) -> dict[str, Params]:
    """The item ``encoder`` of a checkpoint, from a file of weights.

    Args:
        file: As ``read_weights`` takes it.
        encoder: ``Encoder.meta`` of the network that they are of.
        told: Is told what of the file was left aside; None for nobody.

    Raises:
        UserError: No such file, or not the weights of that network.
    """
    kw, state = encoder["kw"], read_weights(file)
    try:
        params, stats = from_torch(
            encoder["name"], state, stem=kw["stem"], width=kw["width"], told=told
        )
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return {"params": jax.device_get(params), "stats": jax.device_get(stats)}
