"""``folder:PATH``: image files in PATH/train/CLASS/ and PATH/test/CLASS/, or PATH."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Split, Whole, read_whole
from sslx.data.sources.layout import LAYOUT, Found, find_files
from sslx.progress import progress, say_once
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if


def _same(file: Path, shape, first: tuple[Path, form.Shape]) -> None:
    """Raises a UserError unless an image comes in the shape of the first one."""
    if shape == first[1]:
        return
    size = shape[:2] != first[1][:2]
    what = "size" if size else "channels"
    mend = "data.size=PIXELS" if size else "data.channels=3"
    raise UserError(
        f"images of mixed {what}: {first[0]} is {first[1]}, {file} is {shape} (height, "
        f"width, channels); bring them together with {mend}"
    )


def _decode(file: Path, size: int) -> tuple[bytes, np.ndarray]:
    """A file's content and pixels; a ValueError says in words what is wrong with it."""
    if size < 0:  # to read a pipe would wait for ever
        raise ValueError("is no file")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from None
    try:
        return content, form.decode(content)
    except ValueError as error:
        raise ValueError(f"is not a readable image: {error}") from None


class _Pixels(NamedTuple):
    """What the files of a set hold, by split."""

    images: dict[str, list[np.ndarray]]  # in the form asked for
    ids: dict[str, list[int]]
    shapes: set[form.Shape]  # of the files' own
    sha: str
    stacks: list[str]  # names of files with further pictures


def _pixels(path: Path, found: Found, options: Options) -> _Pixels:
    """Reads all files, and says how many cannot be."""
    sha, shapes, unreadable, stacks = hashlib.sha256(), set(), [], []
    images: dict[str, list[np.ndarray]] = {}
    ids: dict[str, list[int]] = {}
    first: tuple[Path, form.Shape] | None = None
    total = sum(len(entries) for _, entries in found.splits)
    with progress(total, 0, f"reading {path.name}", "image") as bar:
        for split, entries in found.splits:
            images[split], ids[split] = [], []
            for entry in entries:
                bar.update()
                file = path / entry.name
                try:
                    content, raw = _decode(file, entry.size)
                except ValueError as error:
                    unreadable.append(f"{file} {error}")
                    continue
                # A name that is no UTF-8 counts by its bytes.
                sha.update(f"{entry.name}\0".encode(errors="surrogateescape"))
                sha.update(f"{len(content)}\0".encode() + content)
                stacks += [entry.name] if form.is_stack(content) else []
                shapes.add(raw.shape)
                ids[split].append(form.pixel_id(raw))
                images[split].append(form.fit(raw, options))
                first = first or (file, images[split][-1].shape)
                _same(file, images[split][-1].shape, first)
    count = f" ({len(unreadable)} of {total} are like that)"
    refuse_if(
        unreadable,
        f"{''.join(unreadable[:1])}{count if unreadable[1:] else ''}; mend or remove",
    )
    return _Pixels(images, ids, shapes, sha.hexdigest(), stacks)


@lru_cache(maxsize=2)
def _read(path: Path, found: Found, options: Options) -> Whole:
    """All of a folder; ``found`` tells versions of the files apart.

    The images come in the form asked for; ids and shape are of the files' own.
    """
    files = dict(found.splits)
    if found.told:
        say_once(f"{path}: {found.told}")
    read = _pixels(path, found, options)
    if read.stacks:
        say_once(
            f"{path}: of {len(read.stacks)} files that hold several pictures the first "
            f"is read ({read.stacks[0]})"
        )
    if "test" in files:
        form.apart(
            read.ids,
            path,
            lambda t, o: f"{files['test'][t].name} shows {files['train'][o].name}",
        )
    ids = {split: np.array(marks, np.int64) for split, marks in read.ids.items()}
    info = Info(
        # The bytes, and what this machine's decoders made of them.
        identity={"folder": read.sha, "ids": form.digest(*ids.values())},
        slug=path.resolve().name,
        image_shape=form.common(read.shapes),
        classes=found.classes,
        sizes={split: len(entries) for split, entries in found.splits},
    )
    labels = {
        s: np.array([e.label for e in found], np.int32) for s, found in files.items()
    }
    splits = {s: Split(np.stack(x), labels[s]) for s, x in read.images.items()}
    return Whole(info, splits, ids, lambda split, row: files[split][row].name)


def _find(rest: str, options: Options) -> Path:
    refuse_if(not rest, "write the folder's path after 'folder:'")
    path = local_path(rest)
    if not os.path.isdir(path):
        raise Missing(f"no folder {path}; {LAYOUT}")
    return path


def _open(path: Path, options: Options) -> Whole:
    how = Options(size=options.size, channels=options.channels)
    return _read(path, find_files(path), how)


FOLDER = read_whole(_find, _open)
