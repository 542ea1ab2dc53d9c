"""What people write for a file or a folder, as a path of this machine."""

import os
import re
from pathlib import Path

from sslx.types import UserError, refuse_if

_ELSEWHERE = re.compile(r"(?!file:)[\w.+@-]{2,}:/")  # gs://, https://, host:/
_FILE = re.compile(r"file:/+(localhost/+)?")
_WINDOWS = re.compile(r"([A-Za-z]):[\\/](.*)", re.DOTALL)
_VARIABLE = re.compile(r"(?:^|/)(\$(?:\w+|\{\w+\}))")


class NoHome(UserError):
    """A path begins with ``~``, and there is no such home."""


def local_path(text: str | os.PathLike) -> Path:
    """The path that a text names; ``~`` and ``~NAME`` are homes.

    Raises:
        UserError: It lies in an object store or on another machine, is Windows', or
            names a variable that no shell has filled in.
        NoHome: It begins with ``~``, and there is no such home.
    """
    name = os.fspath(text)
    said = repr(name)
    refuse_if(not name.strip(), f"{said} names no file or folder; write its path")
    refuse_if(
        _ELSEWHERE.match(name),
        f"{said} is not on a file system of this machine; object stores and other "
        "hosts are not read or written: mount or copy it, and name that folder",
    )
    refuse_if(
        _FILE.match(name), f"{said}: write the path alone, /{_FILE.sub('', name)}"
    )
    if drive := _WINDOWS.fullmatch(name):
        here = f"/mnt/{drive[1].lower()}/" + drive[2].replace("\\", "/")
        raise UserError(f"{said} is a path of Windows; within WSL it is {here}")
    refuse_if("\0" in name, f"{said} holds a NUL character, which no path can")
    variable = _VARIABLE.search(name)
    refuse_if(
        variable and not os.path.exists(name),
        f"{said}: no shell has filled in {variable and variable[1]}; write it outside "
        "of single quotes",
    )
    refuse_if(
        name.startswith("\\\\"),
        f"{said} is a path of Windows; mount it, and name that folder",
    )
    try:
        return Path(name).expanduser()
    except RuntimeError:
        who = name.partition("/")[0]
        raise NoHome(
            f"{said}: there is no home {who} here (HOME is not set, or nobody is "
            "called so); write the whole path"
        ) from None


def is_utf8(path: Path) -> bool:
    """Whether a path can be written into a JSON file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
