"""Files from the network: checked, whole or not at all."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sslx.progress import progress
from sslx.types import UserError, refuse_if

TIMEOUT = 20.0  # s without an answer
_CHUNK = 1 << 20


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url: str, path: Path, size: int, sha256: str) -> None:
    """Downloads a file, unless it is there already with the right checksum.

    It is written under another name first, so a file of that name is a whole one.

    Args:
        url: Where it comes from.
        path: Where it goes; its folder is made.
        size: Bytes, for the progress bar.
        sha256: Hexadecimal.

    Raises:
        UserError: No answer within ``TIMEOUT``, or not the file that was expected.
        OSError: The disk is full or cannot be written to.
    """
    there = _sha256(path) if path.exists() else None
    if there == sha256:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
    wanted = f"not {sha256[:12]}..."
    lies = there and f"; what lies there now has the sha256 {there[:12]}..., {wanted}"
    bar = progress(size, 0, path.name, "B", unit_scale=True, unit_divisor=1024)
    try:
        with open(fresh, "wb") as file, bar:
            for chunk in _received(url, path):
                bar.update(file.write(chunk))
        found = _sha256(fresh)
        refuse_if(
            found != sha256,
            f"{url} is not the file it should be (sha256 {found[:12]}..., "
            f"{wanted}); try again later, or put the right one at {path}",
        )
        fresh.replace(path)
    except UserError as error:
        raise UserError(f"{error}{lies or ''}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _received(url: str, path: Path) -> Iterator[bytes]:
    """What a server sends, all of it."""
    request = urllib.request.Request(url, headers={"User-Agent": "sslx"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            missing = int(answer.headers["Content-Length"] or 0)
            while chunk := answer.read(_CHUNK):
                missing -= len(chunk)
                yield chunk
        if missing > 0:
            raise EOFError("the connection was cut")
    except (OSError, http.client.HTTPException, EOFError) as error:
        why = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise UserError(
            f"{url} cannot be loaded ({why}); try again, or fetch it on another "
            f"machine and put it at {path}"
        ) from None
