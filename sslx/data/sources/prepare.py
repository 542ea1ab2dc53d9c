"""Downloads and prepares TFDS sets without TensorFlow.

sslx prepare cifar10 svhn_cropped
"""

import contextlib
import errno
import fcntl
import io
import logging
import os
import shlex
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sslx.data.sources.archives import READERS
from sslx.data.sources.download import fetch
from sslx.data.sources.prepared import first_line, locate, place
from sslx.progress import progress, say
from sslx.types import UserError

# What the names of the folders begin with in which a set is being written.
_SCRATCH = ".preparing-{}-"
# What reading a damaged archive leads to; OSError, without a number of the system's,
# is gzip's and that of the reader of MATLAB files.
_DAMAGE = (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, struct.error)


class Archive(NamedTuple):
    """A file to download: where from, its name, bytes and sha256, as TFDS has them."""

    url: str
    filename: str
    size: int
    sha256: str


def archives(name: str) -> dict[str, Archive]:
    """What a set is made of, under the keys of TFDS's builder ("" for a single one)."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name)
    asked: list[Any] = []
    # In the place of TFDS's download manager, to learn what it is told to load.
    manager = SimpleNamespace(download=asked.append, download_and_extract=asked.append)
    with contextlib.suppress(TypeError):  # it goes on with what it has not got
        builder._split_generators(manager)
    (urls,) = asked
    found = {}
    for key, url in (urls if isinstance(urls, dict) else {"": urls}).items():
        info = builder.url_infos[url]
        found[key] = Archive(url, info.filename, int(info.size), info.checksum)
    return found


def _counted(what: str, total: int, examples: Iterator) -> Iterator:
    with progress(total, 0, what, "image") as bar:
        for example in examples:
            yield example
            bar.update()


def _write(name: str, files: dict[str, Path], scratch: Path) -> Path:
    """Prepares a set in a scratch folder as TFDS's own builder would; its version.

    Only what needs TensorFlow is replaced: reading the archives, and encoding images.
    """
    import tensorflow_datasets as tfds

    def split_generators(self, _) -> dict:
        found = READERS[name](self, files, scratch / "unpacked")
        for feature, names in found.names.items():
            self.info.features[feature].names = names
        return {
            split: _counted(f"preparing {name} {split}", total, examples)
            for split, (total, examples) in found.splits.items()
        }

    official = tfds.builder_cls(name)
    own = {
        "__module__": official.__module__,
        "name": name,
        "_split_generators": split_generators,
    }
    with tfds.core.registered.skip_registration():
        builder_cls = type("Prepared", (official,), own)
    builder = builder_cls(data_dir=str(scratch), file_format="array_record")
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
    finally:
        tfds.enable_progress_bar()
    return Path(builder.data_dir)


@contextlib.contextmanager
def _alone(name: str, where: Path) -> Iterator[None]:
    """Keeps other processes from preparing the same set in the same place.

    Who comes second says so and waits. The lock is the kernel's and goes with its
    process; what a killed one has left half done is removed.
    """
    downloads = where / "downloads" / name
    downloads.mkdir(parents=True, exist_ok=True)
    with open(downloads / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process prepares {name} in {where}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        for folder in where.glob(f"{_SCRATCH.format(name)}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for part in downloads.glob("*.part"):
            part.unlink(missing_ok=True)
        yield


def prepare(name: str, data_dir: str | None) -> Path:
    """Downloads and prepares one of the sets in ``READERS``.

    Args:
        name: Of the set, as TFDS has it.
        data_dir: Where sets lie; None for the usual place.

    Returns:
        The version folder. What was there before is left as it is.

    Raises:
        UserError: Another set, no network, a damaged archive, a full disk.
    """
    there = locate(name, data_dir)
    if there is not None:
        return there
    where = place(data_dir)
    if name not in READERS:
        close = get_close_matches(name, READERS, 1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        raise UserError(
            f"{name!r}{guess} is none of those that sslx prepares by itself "
            f"({', '.join(READERS)}); TensorFlow prepares any: `pip install tensorflow "
            f"&& tfds build {name} --file_format=array_record "
            f"--data_dir={shlex.quote(str(where))}`"
        )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        with _alone(name, where):
            return locate(name, data_dir) or _prepare(name, where)
    except OSError as error:
        raise UserError(f"cannot prepare {name} in {where}: {error}") from None


def _prepare(name: str, where: Path) -> Path:
    """Downloads and writes a set that is not there; its version folder."""
    files, folder = {}, where / "downloads" / name
    for key, (url, filename, size, sha256) in archives(name).items():
        files[key] = folder / filename
        fetch(url, files[key], size, sha256)
    # Elsewhere first, so that a kill leaves no version folder that looks whole.
    prefix = _SCRATCH.format(name)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=where) as scratch:
        try:
            done = _write(name, files, Path(scratch))
        except Exception as error:  # of tar, gzip, MATLAB files, numpy
            # Their own OSErrors carry no number of the system's; the record
            # writer's errors of the system are text alone.
            if isinstance(error, UserError) or getattr(error, "errno", None):
                raise
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(os.strerror(errno.ENOSPC)) from None
            why = first_line(error)
            raise UserError(
                f"an archive in {folder} is damaged ({why}); delete it and try again"
                if isinstance(error, _DAMAGE)
                else f"the archives in {folder} cannot be read "
                f"({type(error).__name__}: {why})"
            ) from None
        final = where / done.relative_to(scratch)
        final.parent.mkdir(parents=True, exist_ok=True)
        return done.replace(final)
