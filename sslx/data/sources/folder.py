"""``folder:PATH``: image files in PATH/train/CLASS/ and PATH/test/CLASS/."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslx.data import form
from sslx.data.source import Info, Missing, Options, Split, Whole, read_whole
from sslx.progress import progress
from sslx.runs.paths import local_path
from sslx.types import UserError, refuse_if

SUFFIXES = {  # in any case
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm"),
    *(".png", ".ppm", ".tif", ".tiff", ".webp"),
}
_LAYOUT = "a folder set is PATH/train/CLASS/*.png and PATH/test/CLASS/*.png (or .jpg)"


def _folders(path: Path) -> list[str]:
    return sorted(
        p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")
    )


def _files(path: Path) -> dict[str, list[tuple[Path, int]]]:
    """Split -> (file, label) of every image, sorted; checks the layout."""
    missing = [s for s in ("train", "test") if not (path / s).is_dir()]
    refuse_if(missing, f"{path} has no folder {' and no '.join(missing)}; {_LAYOUT}")
    classes = _folders(path / "train")
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(f"{path / 'train'} must hold two classes or more, not {found}")
    if classes != (tests := _folders(path / "test")):
        odd = sorted(set(classes) ^ set(tests))
        raise UserError(
            f"{path}: train and test must hold the same classes, but {odd[0]!r} is "
            f"only in {'train' if odd[0] in classes else 'test'}"
        )
    out: dict[str, list[tuple[Path, int]]] = {}
    for split in ("train", "test"):
        out[split] = []
        for label, name in enumerate(classes):
            folder = path / split / name
            images = sorted(
                p
                for p in folder.iterdir()
                if p.suffix.lower() in SUFFIXES
                and not p.name.startswith(".")
                and not p.is_dir()
            )
            refuse_if(not images, f"class folder {folder} holds no image; {_LAYOUT}")
            out[split] += [(p, label) for p in images]
    return out


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


def _unreadable(file: Path, error: OSError) -> UserError:
    return UserError(
        f"{file} cannot be read ({error.strerror or error}); mend it or remove it"
    )


@lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple, options: Options) -> Whole:
    """All of a folder; ``stamp`` tells versions of the files apart.

    The images come in the form asked for; ids and shape are of the files' own.
    """
    files, sha = _files(path), hashlib.sha256()
    splits, shapes = {}, set()
    ids: dict[str, list[int]] = {}
    first: tuple[Path, form.Shape] | None = None
    total = sum(map(len, files.values()))
    with progress(total, 0, f"reading {path.name}", "image") as bar:
        for split, entries in files.items():
            images, ids[split] = [], []
            for file, _ in entries:
                try:
                    content = file.read_bytes()
                    raw = form.decode(content)
                except OSError as error:
                    raise _unreadable(file, error) from None
                except ValueError as error:
                    raise UserError(
                        f"{file} is not a readable image: {error}"
                    ) from None
                sha.update(f"{file.relative_to(path).as_posix()}\0".encode())
                sha.update(f"{len(content)}\0".encode() + content)
                shapes.add(raw.shape)
                ids[split].append(form.pixel_id(raw))
                images.append(form.fit(raw, options))
                first = first or (file, images[-1].shape)
                _same(file, images[-1].shape, first)
                bar.update()
            labels = np.array([label for _, label in entries], np.int32)
            splits[split] = Split(np.stack(images), labels)
    again = "{} shows the same image as {}"
    form.apart(
        ids, lambda t, o: again.format(files["test"][t][0], files["train"][o][0])
    )
    numbers = {split: np.array(marks, np.int64) for split, marks in ids.items()}
    info = Info(
        # The bytes, and what this machine's decoders made of them.
        identity={"folder": sha.hexdigest(), "ids": form.digest(*numbers.values())},
        slug=path.resolve().name,
        image_shape=form.common(shapes),
        classes=files["train"][-1][1] + 1,
        sizes={split: len(entries) for split, entries in files.items()},
    )
    return Whole(info, splits, numbers)


def _stamp(file: Path) -> tuple:
    try:
        status = file.stat()
    except OSError as error:  # a link to nothing
        raise _unreadable(file, error) from None
    return str(file), status.st_size, status.st_mtime_ns


def _find(rest: str, options: Options) -> Path:
    refuse_if(not rest, "write the folder's path after 'folder:'")
    path = local_path(rest)
    if not path.is_dir():
        raise Missing(f"no folder {path}; {_LAYOUT}")
    return path


def _open(path: Path, options: Options) -> Whole:
    stamp = tuple(_stamp(p) for entries in _files(path).values() for p, _ in entries)
    return _read(path, stamp, Options(size=options.size, channels=options.channels))


FOLDER = read_whole(_find, _open)
