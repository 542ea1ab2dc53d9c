"""Finding and opening prepared TFDS sets, without TensorFlow.

They lie in ``DIR/NAME[/CONFIG]/VERSION/``.
"""

import os
import re
import shlex
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sslx.data.source import Missing
from sslx.runs.paths import NoHome, local_path
from sslx.types import UserError, refuse_if

_NAME = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(/(?P<config>[\w.-]+))?(:(?P<version>\d+\.\d+\.\d+))?"
)


class Prepared(NamedTuple):
    """A prepared set, opened.

    Attributes:
        name: ``NAME`` or ``NAME/CONFIG``.
        folder: The version folder.
        builder: TFDS's builder on it.
        image: Key of the image feature.
        label: Key of the label feature; None where there is none.
        splits: ``train``, and ``test`` if there is one -> the name of the split in
            TFDS.
    """

    name: str
    folder: Path
    builder: Any
    image: str
    label: str | None
    splits: dict[str, str]


def place(data_dir: str | None) -> Path:
    """The folder that prepared sets lie in."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    try:
        return local_path(chosen)
    except NoHome as error:
        raise NoHome(f"{error}, with data.dir or TFDS_DATA_DIR") from None


def _versions(folder: Path) -> list[str]:
    """The version folders there, newest last."""
    if not folder.is_dir():
        return []
    found = [p.name for p in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", p.name)]
    return sorted(found, key=lambda v: tuple(map(int, v.split("."))))


def _config_of(folder: Path, name: str) -> str | None:
    """The config that a bare name means; None where the set has none."""
    if _versions(folder) or not folder.is_dir():
        return None
    from etils import epath
    from tensorflow_datasets.core.dataset_builder import load_default_config_name

    configs = sorted(p.name for p in folder.iterdir() if _versions(p))
    default = load_default_config_name(epath.Path(folder))
    if default in configs:
        return default
    if len(configs) > 1:
        options = ", ".join(f"{name}/{config}" for config in configs)
        raise UserError(f"{name!r} in {folder.parent} has configs; write {options}")
    return configs[0] if configs else None


def locate(name: str, data_dir: str | None) -> Path | None:
    """The version folder of a set, None where there is none; nothing is opened.

    Raises:
        UserError: The name cannot be one of TFDS, or leaves open which config is meant.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise _unknown(name, place(data_dir))
    folder = place(data_dir) / match["name"]
    config = match["config"] or _config_of(folder, match["name"])
    folder = folder / config if config else folder
    found = _versions(folder)
    if match["version"]:
        found = [v for v in found if v == match["version"]]
    return folder / found[-1] if found else None


def _unknown(name: str, where: Path) -> UserError:
    there = [p.name for p in where.iterdir()] if where.is_dir() else []
    known = ("digits", "folder", "npz", "cifar10", "cifar100", "svhn_cropped", *there)
    close = get_close_matches(name.partition(":")[0], known, 1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return UserError(
        f"unknown data set {name!r}; {guess}known: digits, folder:PATH, npz:PATH, "
        "MODULE:NAME of a module here or installed, and by its name any TFDS set "
        f"(cifar10, ...) that is prepared in {where}"
    )


def missing(name: str, data_dir: str | None) -> UserError:
    """What to say of a set that is not there: not prepared, or no such set."""
    import tensorflow_datasets as tfds

    where = place(data_dir)
    bare = name.partition(":")[0]
    there = f" --data_dir {shlex.quote(data_dir)}" if data_dir else ""
    try:
        tfds.builder_cls(bare.partition("/")[0])
    except Exception:  # its own kind, with a list of all names there are
        return _unknown(name, where)
    return Missing(
        f"data set {name!r} is not in {where}; prepare it with `sslx "
        f"prepare {bare}{there}`, or say where it lies with data.dir or TFDS_DATA_DIR"
    )


def _keys(folder: Path, builder: Any) -> tuple[str, str | None]:
    """The keys of image and label; a set without labels may be a pool."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    chosen = list(builder.info.supervised_keys or ())
    if len(chosen) == 2 and all(
        isinstance(key, str) and isinstance(features[key], kind)
        for key, kind in zip(chosen, kinds, strict=True)
    ):
        return chosen[0], chosen[1]
    found = [[k for k, f in features.items() if isinstance(f, kind)] for kind in kinds]
    refuse_if(
        len(found[0]) != 1 or len(found[1]) > 1,
        f"{folder} is no image classification set: it has {len(found[0])} image "
        f"and {len(found[1])} label features",
    )
    return found[0][0], next(iter(found[1]), None)


def open_prepared(folder: Path) -> Prepared:
    """Opens a version folder.

    Raises:
        UserError: What lies there is broken, in another file format, or no set of
            images with a split to train on.
    """
    files = (folder / "dataset_info.json", folder / "features.json")
    return _open(folder, tuple(f.stat().st_mtime_ns for f in files if f.exists()))


@lru_cache(maxsize=16)
def _open(folder: Path, stamp: tuple[int, ...]) -> Prepared:
    """The same; ``stamp`` tells versions of its files apart."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        kind = builder.info.file_format.value
        sizes = {s: i.num_examples for s, i in builder.info.splits.items()}
    except Exception as error:  # whatever a missing or broken JSON file leads to
        raise UserError(
            f"{folder} holds no prepared set ({first_line(error)}); remove that folder "
            "and prepare the set again (sslx prepare)"
        ) from None
    refuse_if(
        kind != "array_record",
        f"{folder} is prepared as {kind}, sslx reads array_record; use another "
        "data.dir, or remove that folder and prepare the set again (sslx "
        "prepare)",
    )
    image, label = _keys(folder, builder)
    test = "test" if "test" in sizes else "validation"
    splits = {"train": "train"} | ({"test": test} if test in sizes else {})
    for split in splits.values():
        if not sizes.get(split):
            there = ", ".join(sizes) or "nothing"
            raise UserError(f"{folder} has no images in a {split} split, only {there}")
    config = builder.info.config_name
    name = f"{builder.name}/{config}" if config else builder.name
    return Prepared(name, folder, builder, image, label, splits)


def first_line(error: Exception) -> str:
    """What a library's error says, without its further lines."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
