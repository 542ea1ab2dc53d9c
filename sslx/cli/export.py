"""Weights of a run as a safetensors file, for other frameworks.

Command: sslx export RUN FILE.safetensors [--head] [--force]

Arrays of the encoder are called ``params/...`` and ``stats/...`` after their place in
the network (``params/conv1/kernel``), those of the head ``head/params/...``. The
file's metadata are strings: ``run``, ``fingerprint``, ``sslx`` (the version) as they
are, and as JSON ``encoder`` (name and keywords), ``head``, ``image_shape``, ``mean``,
``std``, ``finished`` and ``step``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sslx.embed.finished import open_run
from sslx.models import make_encoder
from sslx.runs.files import replacing
from sslx.runs.paths import local_path
from sslx.train import checkpoint
from sslx.types import Encoder, Params, UserError, refuse_if

_AS_JSON = ("encoder", "head", "image_shape", "mean", "std", "finished", "step")


def export(
    run: str | Path, file: str | Path, *, head: bool = False, force: bool = False
) -> dict[str, np.ndarray]:
    """Writes the encoder of a run; the file is there whole or not at all.

    Args:
        run: The run directory; of an unfinished run, its latest checkpoint counts.
        file: The safetensors file.
        head: Whether to write what sits on the encoder, too.
        force: Whether a file that is there may be replaced.

    Returns:
        What was written, name -> array.

    Raises:
        UserError: No encoder or no head in the run, damaged weights, or the file is
            there already.
    """
    file = local_path(file)
    refuse_if(file.exists() and not force, f"{file} exists; --force replaces it")
    refuse_if(
        not file.parent.is_dir(), f"there is no directory {file.parent} to write into"
    )
    opened = open_run(run)
    variables = opened.variables()
    trees = dict(variables["encoder"])
    if head:
        refuse_if("head" not in variables, f"{run} has no head; leave --head out")
        trees["head"] = variables["head"]
    # Copies in C order: safetensors writes an array's memory as it lies.
    arrays = {
        name: np.array(array, order="C")
        for name, array in flatten_dict(trees, sep="/").items()
    }
    meta = opened.meta
    sealed = meta.get("weights")
    step = sealed["step"] if sealed else checkpoint.steps(opened.path)[-1]
    rebuilds = {**meta, "step": step}
    metadata = {
        "run": f"{meta['stage']}/{meta['name']}",
        "fingerprint": meta["fingerprint"],
        "sslx": meta["sslx"],
        **{key: json.dumps(rebuilds.get(key)) for key in _AS_JSON},
    }
    with replacing(file, shared=True) as out:
        out.write(save(arrays, metadata))
    return arrays


def load(file: str | Path) -> tuple[Encoder, Params, Params, dict[str, Any]]:
    """Rebuilds the encoder of an exported file.

    Returns:
        ``(encoder, params, stats, meta)``: ``encoder.apply(params, stats, images,
        False)`` gives the features of float32 NHWC images that are normalised with
        ``meta["mean"]`` and ``meta["std"]``; meta is the file's, JSON decoded.

    Raises:
        UserError: No such file, or not one that ``export`` wrote.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            meta: dict[str, Any] = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        meta |= {key: json.loads(meta[key]) for key in _AS_JSON}
        encoder = make_encoder(meta["encoder"]["name"], **meta["encoder"]["kw"])
        tree = unflatten_dict(arrays, sep="/")
        return encoder, tree["params"], tree.get("stats", {}), meta
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{file} cannot be read as an encoder that sslx export wrote "
            f"({type(error).__name__})"
        ) from None


def main(argv: list[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="sslx export", description="Exports the encoder of a run."
    )
    parser.add_argument("run", metavar="RUN", help="a run directory with an encoder")
    parser.add_argument("file", metavar="FILE.safetensors", help="what to write")
    parser.add_argument("--head", action="store_true", help="the head's weights, too")
    parser.add_argument("--force", action="store_true", help="replace FILE")
    args = parser.parse_args(argv)
    arrays = export(args.run, args.file, head=args.head, force=args.force)
    count = sum(array.size for array in arrays.values())
    print(f"{args.file}: {len(arrays)} arrays, {count:,} numbers")
