"""The one way into a finished run: rebuild its encoder from meta, load it strictly."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.embed.forward import check_images, embedder, gradienter
from sslx.embed.function import ITEM, asking, identify
from sslx.embed.recording import KEY, recorded
from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.runs.files import read_json
from sslx.runs.paths import local_path
from sslx.train import checkpoint
from sslx.train.logbook import read_rows
from sslx.types import Encoder, Params, UserError, refuse_if

# Origins of victims that others run.
KINDS = ("npz", "python")


class OpenRun(NamedTuple):
    """A run directory, opened.

    Attributes:
        path: The directory.
        meta: meta.json; ``meta["image_shape"]`` says what images ``embed`` takes.
        parents: Role -> directory of the run this one builds on.
        metrics: The logged rows, one dict each.
        embed: ``(images, output="representation") -> float32 (n, d)`` for uint8 NHWC
            images; scaling and normalisation follow meta. ``output="projection"``
            gives what comes after the head, where the run has one.
        variables: ``() -> {"encoder": {"params", "stats"}, "head": {"params"}}``,
            nested dicts of numpy arrays; ``"head"`` only where the run has one (a
            stealer's is the linear map to the answers' width).
        gradient: ``(score, images, output="representation") -> float32 NHWC``: how
            ``score``, a JAX function of one answer, changes with each pixel.
    """

    path: Path
    meta: dict[str, Any]
    parents: dict[str, Path]
    metrics: list[dict]
    embed: Callable[..., np.ndarray]
    variables: Callable[[], dict[str, Any]]
    gradient: Callable[..., np.ndarray]


def _load_variables(path: Path, meta: dict, encoder: Encoder, head_init) -> Params:
    """The run's weights, against the shapes that its meta calls for."""
    key = jax.random.key(0)
    images = jax.ShapeDtypeStruct((1, *meta["image_shape"]), jnp.float32)
    params, stats = jax.eval_shape(encoder.init, key, images)
    like = {"params": params, "stats": stats}
    load = partial(checkpoint.load, path, sealed=meta.get("weights"))
    variables = {"encoder": load("encoder", like)}
    if head_init is not None:
        features = jax.ShapeDtypeStruct((1, encoder.dim), jnp.float32)
        params, stats = jax.eval_shape(head_init, key, features)
        head = {"params": params, "stats": stats}
        # A head without running statistics was saved without an entry for them.
        like = {kind: {"projector": tree} for kind, tree in head.items() if tree}
        loaded = load("head", like)
        variables["head"] = head | {k: v["projector"] for k, v in loaded.items()}
    return variables


def _encoder_of(path: Path, meta: dict[str, Any]) -> Encoder:
    if "encoder" not in meta:
        kind = "an API's" if "origin" in meta else f"a {meta['stage']}"
        raise UserError(f"{path} holds no encoder ({kind} run)")
    return make_encoder(meta["encoder"]["name"], **meta["encoder"]["kw"])


def _variables_of(path: Path, meta: dict[str, Any]) -> dict[str, Any]:
    variables = _load_variables(path, meta, _encoder_of(path, meta), None)
    sealed = meta.get("weights")
    # As it is stored: what sits on an encoder differs from method to method.
    head = checkpoint.stored(path, "head", sealed)
    if head is not None:
        variables["head"] = checkpoint.load(path, "head", head, sealed=sealed)
    return jax.device_get(variables)


def head_of(path: Path) -> Params:
    """The projection head of a run, ``{"params", "stats"}``; strictly loaded."""
    sealed = read_json(path / "meta.json").get("weights")
    stored = checkpoint.stored(path, "head", sealed)
    refuse_if(stored is None, f"{path} has no projection head")
    loaded = checkpoint.load(path, "head", stored, sealed=sealed)
    found = {kind: tree["projector"] for kind, tree in jax.device_get(loaded).items()}
    return {"stats": {}} | found


def _answering(path: Path, meta: dict[str, Any], output: str):
    """``embed`` of an API's run, uint8 (n, h, w, c) to float32 (n, d)."""
    refuse_if(
        output != "representation",
        f"{path} is an API's, which has no {output!r} to answer with",
    )
    shape = tuple(meta["image_shape"])
    if meta["origin"] == "npz":
        n = meta["images"]
        like = {
            "keys": jax.ShapeDtypeStruct((n, KEY), np.uint8),
            "embeddings": jax.ShapeDtypeStruct((n, meta["dim"]), np.float32),
        }
        found = checkpoint.load(path, ITEM, like, sealed=meta.get("weights"))
        answer = recorded(**jax.device_get(found))
    else:
        named = meta["answers"]  # None: a function that is not to be asked
        refuse_if(
            named and identify(meta["function"], shape)[0] != named,
            f"{meta['function']} answers otherwise than when {path} was made; start "
            "the experiment again, which makes a new victim",
        )
        answer = asking(meta["function"], meta["dim"])

    def embed(images: np.ndarray) -> np.ndarray:
        check_images(images, shape)
        return answer(images)

    return embed


def _embed_of(path: Path, meta: dict[str, Any], output: str):
    if meta.get("origin") in KINDS:
        return _answering(path, meta, output)
    return _network(path, meta, output, embedder)


def _gradient_of(path: Path, meta: dict[str, Any], output: str):
    refuse_if(
        meta.get("origin") in KINDS, f"{path} is an API's, whose gradient is not known"
    )
    return _network(path, meta, output, gradienter)


def _network(path: Path, meta: dict[str, Any], output: str, make: Callable):
    encoder = _encoder_of(path, meta)
    head = head_init = None
    if output == "projection":
        refuse_if(not meta.get("head"), f"{path} has no projection head to answer with")
        head, (head_init, _) = meta["head"], make_mlp(**meta["head"])
    elif output != "representation":
        raise UserError(f"unknown output {output!r}; known: projection, representation")
    return make(
        meta["encoder"],
        _load_variables(path, meta, encoder, head_init),
        image_shape=tuple(meta["image_shape"]),
        mean=meta["mean"],
        std=meta["std"],
        head=head,
    )


def open_run(path: str | Path) -> OpenRun:
    """Opens a run directory.

    Weights are read when ``embed`` is first called, or the others: strictly,
    against the shapes that meta.json calls for and the digest stored with them.

    Raises:
        UserError: No run there; from these: no encoder in it, damaged weights,
            weights of another architecture, images of the wrong shape or type.
    """
    path = local_path(path)
    refuse_if(
        not (path / "meta.json").is_file(),
        f"{path} is no run directory (it has no meta.json)",
    )
    meta = read_json(path / "meta.json")
    workdir = path.resolve().parent.parent
    parents = {role: workdir / name for role, name in meta["parents"].items()}
    ready = cache(partial(_embed_of, path, meta))
    differentiable = cache(partial(_gradient_of, path, meta))

    def embed(images: np.ndarray, output: str = "representation") -> np.ndarray:
        return ready(output)(images)

    def gradient(
        score: Callable, images: np.ndarray, output: str = "representation"
    ) -> np.ndarray:
        return differentiable(output)(score, images)

    variables = partial(_variables_of, path, meta)
    rows = read_rows(path)
    return OpenRun(path, meta, parents, rows, embed, variables, gradient)
