"""The one way into a finished run: rebuild its encoder from meta, load it strictly."""

from collections import deque
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.engine import checkpoint
from sslx.engine.logbook import read_rows
from sslx.engine.mesh import local_mesh, replicated, split_rows
from sslx.engine.rng import host_stream
from sslx.engine.rundir import read_json
from sslx.models import make_encoder
from sslx.models.heads import make_mlp
from sslx.models.linen import STATS_DECAY
from sslx.stages import api
from sslx.types import Encoder, Params, UserError

# Rows of one forward pass; fewer are padded, so that there is one program to compile.
EMBED_BATCH = 256
# Batches on the way when one is fetched: an accelerator has work while the host copies.
AHEAD = 2


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
    """

    path: Path
    meta: dict[str, Any]
    parents: dict[str, Path]
    metrics: list[dict]
    embed: Callable[..., np.ndarray]
    variables: Callable[[], dict[str, Any]]


def normalise(images: jax.Array, mean: list[float], std: list[float]) -> jax.Array:
    """float32 images (b, h, w, c) in [0, 1] to what an encoder takes."""
    shift, scale = (
        jnp.asarray(v, jnp.float32).reshape(1, 1, 1, -1) for v in (mean, std)
    )
    return (images - shift) / scale


def check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises a UserError unless images are uint8 (n, *shape) with n at least 1."""
    found = np.shape(images)
    kind = getattr(images, "dtype", type(images).__name__)
    if kind != np.uint8 or found[1:] != shape or found[0] < 1:
        raise UserError(
            f"images must be a uint8 array of shape (n, {', '.join(map(str, shape))}), "
            f"not {kind} {found}"
        )


def make_forward(encoder: Encoder, head, mean, std):
    """Jits ``(variables, uint8 images of a batch) -> features``; see ``embedder``.

    ``head`` is the ``apply`` of a projection head to put on top, or None.
    """

    def forward(variables, images):
        x = normalise(images.astype(jnp.float32) / 255, mean, std)
        params, stats = variables["encoder"]["params"], variables["encoder"]["stats"]
        features, _ = encoder.apply(params, stats, x, False)
        if head is not None:
            params, stats = variables["head"]["params"], variables["head"]["stats"]
            features, _ = head(params, stats, features, False)
        return features

    return jax.jit(forward)


def in_batches(
    forward: Callable[..., jax.Array], variables: Params, images: np.ndarray
) -> np.ndarray:
    """``forward(variables, batch)`` of uint8 images (n, h, w, c), as float32.

    ``EMBED_BATCH`` at a time, each spread over this process's own devices.
    """
    # Placed by hand: with several processes, a jitted function splits no numpy array.
    mesh = local_mesh(EMBED_BATCH)
    variables = jax.device_put(variables, replicated(mesh))
    parts: list[np.ndarray] = []
    ahead: deque[jax.Array] = deque()
    for start in range(0, len(images), EMBED_BATCH):
        chunk = images[start : start + EMBED_BATCH]
        short = EMBED_BATCH - len(chunk)
        padded = np.pad(chunk, [(0, short), *[(0, 0)] * (images.ndim - 1)])
        placed = jax.device_put(padded, split_rows(mesh))
        ahead.append(forward(variables, placed))
        if len(ahead) > AHEAD:
            parts.append(np.asarray(ahead.popleft()))
    parts += map(np.asarray, ahead)
    return np.concatenate(parts)[: len(images)].astype(np.float32)


def embedder(
    encoder: Encoder, variables: Params, *, image_shape, mean, std, head=None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns ``embed(uint8 NHWC) -> float32 (n, d)``, statistics as they are.

    Args:
        encoder: The trunk.
        variables: ``{"encoder": {"params", "stats"}, "head": {"params", "stats"}}``.
        image_shape: (h, w, c) that ``embed`` takes.
        mean: Normalisation, per channel.
        std: Likewise.
        head: ``apply`` of a projection head to put on top.
    """
    forward = make_forward(encoder, head, mean, std)

    def embed(images: np.ndarray) -> np.ndarray:
        check_images(images, image_shape)
        return in_batches(forward, variables, images)

    return embed


def _example(image_shape) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)


def _load_variables(path: Path, meta: dict, encoder: Encoder, head_init) -> Params:
    """The run's weights, against the shapes that its meta calls for."""
    key = jax.random.key(0)
    params, stats = jax.eval_shape(encoder.init, key, _example(meta["image_shape"]))
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
    if stored is None:
        raise UserError(f"{path} has no projection head")
    loaded = checkpoint.load(path, "head", stored, sealed=sealed)
    found = {kind: tree["projector"] for kind, tree in jax.device_get(loaded).items()}
    return {"stats": {}} | found


def _answering(path: Path, meta: dict[str, Any], output: str):
    if output != "representation":
        raise UserError(f"{path} is an API's, which has no {output!r} to answer with")
    answer, shape = api.opened(path, meta), tuple(meta["image_shape"])

    def embed(images: np.ndarray) -> np.ndarray:
        check_images(images, shape)
        return answer(images)

    return embed


def _embed_of(path: Path, meta: dict[str, Any], output: str):
    if meta.get("origin") in api.KINDS:
        return _answering(path, meta, output)
    encoder = _encoder_of(path, meta)
    head_init = head_apply = None
    if output == "projection":
        if not meta.get("head"):
            raise UserError(f"{path} has no projection head to answer with")
        head_init, head_apply = make_mlp(**meta["head"])
    elif output != "representation":
        raise UserError(f"unknown output {output!r}; known: projection, representation")
    return embedder(
        encoder,
        _load_variables(path, meta, encoder, head_init),
        image_shape=tuple(meta["image_shape"]),
        mean=meta["mean"],
        std=meta["std"],
        head=head_apply,
    )


def open_run(path: str | Path) -> OpenRun:
    """Opens a run directory.

    Weights are read when ``embed`` is first called, or by ``variables``: strictly,
    against the shapes that meta.json calls for and the digest stored with them.

    Raises:
        UserError: No run there; from these two: no encoder in it, damaged weights,
            weights of another architecture, images of the wrong shape or type.
    """
    path = Path(path)
    if not (path / "meta.json").is_file():
        raise UserError(f"{path} is no run directory (it has no meta.json)")
    meta = read_json(path / "meta.json")
    workdir = path.resolve().parent.parent
    parents = {role: workdir / name for role, name in meta["parents"].items()}
    ready = cache(partial(_embed_of, path, meta))

    def embed(images: np.ndarray, output: str = "representation") -> np.ndarray:
        return ready(output)(images)

    variables = partial(_variables_of, path, meta)
    return OpenRun(path, meta, parents, read_rows(path), embed, variables)


def untrained(
    encoder: Encoder, key: jax.Array, images: np.ndarray, *, mean, std
) -> Params:
    """Initial weights, with BatchNorm statistics from one pass over ``images``.

    The statistics are the mean of the batches' own, each layer normalised by its
    batch: without them an untrained network passes on features of the wrong scale.

    Args:
        encoder: The trunk.
        key: Of the initial weights.
        images: uint8 (n, h, w, c).
        mean: Normalisation, per channel.
        std: Likewise.

    Returns:
        ``{"encoder": {"params", "stats"}}``.
    """
    params, stats = encoder.init(key, jnp.zeros((1, *images.shape[1:]), jnp.float32))
    zero = jax.tree.map(jnp.zeros_like, stats)

    @jax.jit
    def batch_stats(images):
        x = normalise(images.astype(jnp.float32) / 255, mean, std)
        moved = encoder.apply(params, zero, x, True)[1]
        return jax.tree.map(lambda s: s / (1 - STATS_DECAY), moved)

    # Whole batches only (one program), in random order: a set sorted by class would
    # give batches that are less varied than the set.
    size = min(EMBED_BATCH, len(images))
    order = host_stream(0, "calibration").permutation(len(images))
    count = len(images) // size
    total = zero
    for i in range(count):
        batch = images[order[i * size : (i + 1) * size]]
        total = jax.tree.map(jnp.add, total, batch_stats(batch))
    stats = jax.tree.map(lambda s: s / count, total)
    return {"encoder": {"params": params, "stats": stats}}


def embed_untrained(
    meta: dict[str, Any], key: jax.Array, images: np.ndarray, *, mean, std
) -> Callable[[np.ndarray], np.ndarray]:
    """``embed`` of an untrained encoder, with the statistics of ``untrained``.

    Args:
        meta: ``Encoder.meta``.
        key: As the three others: see ``untrained``.
        images: uint8 (n, h, w, c), of the shape that ``embed`` takes.
        mean: Normalisation, per channel.
        std: Likewise.
    """
    encoder = make_encoder(meta["name"], **meta["kw"])
    variables = untrained(encoder, key, images, mean=mean, std=std)
    shape = images.shape[1:]
    return embedder(encoder, variables, image_shape=shape, mean=mean, std=std)
