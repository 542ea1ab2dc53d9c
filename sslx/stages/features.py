"""The features of one encoder on one data set, computed once and kept.

A run of its own, so that every probe and comparison of the encoder shares it. The files
may be deleted to save room: they are made again when they are wanted.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sslx.context import Context, Place
from sslx.embed.finished import open_run
from sslx.embed.forward import embed_untrained, untrained
from sslx.models import make_encoder
from sslx.models.preprocess import normalise
from sslx.progress import say
from sslx.rng import stream
from sslx.runs.files import read_json, save_array, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run

SPLITS = ("train", "test")


def make(run: Run, context: Context) -> None:
    """Computes the features of both splits, and keeps them if the config says so."""
    place = context.place(run.recipe["data"])
    with working_on(run, f"features on {place.title}") as needed:
        if not needed:
            return
        digests = {}
        # Raw pixels lie in the data set; without keeping, there is nothing to do.
        if context.keep_features and _encoder_of(run):
            embed = _embedding(run, place)
            for split in SPLITS:
                images = place.load(split).images
                save_array(run.path / f"{split}.npy", embed(images))
                digests[split] = _digest(run.path / f"{split}.npy")
        write_meta(run, finished=True, digests=digests)


def load(run: Run, split: str, context: Context) -> np.ndarray:
    """The features of a split, float32 (n, d), in the order of the data set."""
    path = run.path / f"{split}.npy"
    if path.exists():
        if is_intact(run.path, split):
            return np.load(path, allow_pickle=False)
        say(f"{path} is damaged; its features are computed anew")
    place = context.place(run.recipe["data"])
    return _embedding(run, place)(place.load(split).images)


def is_intact(path: Path, split: str) -> bool:
    """Whether a run's file of features is what the run wrote."""
    wrote = read_json(path / "meta.json").get("digests", {}).get(split)
    return wrote == _digest(path / f"{split}.npy")


def by_batch_statistics(
    run: Run,
    split: str,
    size: int,
    context: Context,
    rows: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """The features of a network in training mode: each batch by its own statistics.

    So does the study's probe, whose network never leaves that mode. Those of the rows
    alone are taken, in order, ``size`` at a time; the last batch may be smaller. What
    has no statistics, an API or pixels, gives its ordinary features.
    """
    place = context.place(run.recipe["data"])
    images = place.load(split).images[rows]
    meta = _encoder_of(run) and _meta(run)
    if not meta or "encoder" not in meta:
        return load(run, split, context)[rows]
    encoder = make_encoder(meta["encoder"]["name"], **meta["encoder"]["kw"])
    if "encoder" in run.parents:
        trunk = open_run(run.parents["encoder"].path).variables()["encoder"]
    else:
        train = place.load("train").images
        how = {"mean": meta["mean"], "std": meta["std"]}
        trunk = untrained(encoder, _key(meta), train, **how)["encoder"]

    @jax.jit
    def forward(batch):
        x = normalise(batch.astype(jnp.float32) / 255, meta["mean"], meta["std"])
        return encoder.apply(trunk["params"], trunk["stats"], x, True)[0]

    starts = range(0, len(images), size)
    parts = [np.asarray(forward(images[s : s + size]), np.float32) for s in starts]
    return np.concatenate(parts)


def _encoder_of(run: Run) -> bool:
    """Whether there is an encoder at all; else the run is of raw pixels."""
    return "encoder" in run.parents or "untrained" in run.recipe


def _meta(run: Run) -> dict:
    """Encoder, mean and std, and what else its meta or recipe says."""
    if "encoder" in run.parents:
        return read_json(run.parents["encoder"].path / "meta.json")
    return run.recipe["untrained"]


def _embedding(run: Run, place: Place):
    """``embed`` of the encoder that the run is about."""
    if "encoder" in run.parents:
        return open_run(run.parents["encoder"].path).embed
    if "untrained" not in run.recipe:
        return lambda images: images.reshape(len(images), -1).astype(np.float32) / 255
    meta, images = run.recipe["untrained"], place.load("train").images
    key, how = _key(meta), {"mean": meta["mean"], "std": meta["std"]}
    initial = meta.get("statistics") == "initial"
    return embed_untrained(meta["encoder"], key, images, **how, initial=initial)


def _key(meta: dict) -> jax.Array:
    return stream(meta["seed"], "untrained")


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _digest_of(path: Path, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
