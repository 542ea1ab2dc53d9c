"""The secret of a service: bytes that only the provider knows, in a file of its own."""

import hmac
import os
import stat
from pathlib import Path

from sslx.service.database import digest
from sslx.types import UserError, refuse_if

LEAST = 16  # bytes


def key_of(secret: bytes, *parts: bytes) -> bytes:
    """32 bytes that follow from a secret and the parts, and tell nothing of it."""
    return hmac.digest(secret, digest(*parts), "sha256")


def seal(secret: bytes) -> str:
    """What may be written down of a secret, to know it again."""
    return key_of(secret, b"seal").hex()


def check_secret(secret: bytes) -> None:
    """Raises a UserError where a secret is too short to be one."""
    refuse_if(
        len(secret) < LEAST, f"the secret is short: give {LEAST} random bytes or more"
    )


def read_secret(path: str | os.PathLike) -> bytes:
    """The secret in a file that nobody but its owner may read.

    Raises:
        UserError: There is no such file, others may read it, or it is short.
    """
    path = Path(path)
    try:
        mode, secret = path.stat().st_mode, path.read_bytes()
    except OSError:
        raise UserError(
            f"service.secret: no file can be read at {path}; make one: "
            f"(umask 077; head -c 32 /dev/urandom > {path})"
        ) from None
    refuse_if(
        stat.S_IMODE(mode) & 0o077,
        f"service.secret: others may read {path}; write chmod 600 {path}",
    )
    check_secret(secret)
    return secret
