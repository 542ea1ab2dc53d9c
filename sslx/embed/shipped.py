"""Victims that come with sslx: ``shipped:NAME``, weights and a card each.

The card, JSON beside the weights, says how the victim was trained and which images it
did not see: those are an attacker's, whatever ``data.split_seed`` says.
"""

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sslx.registry import pick
from sslx.types import refuse_if

FOLDER = Path(__file__).parents[1] / "shipped"
FOUND = 0.99  # of the images it did not see, that a data set must have


def victims() -> dict[str, dict[str, Any]]:
    """The cards of all shipped victims, by name.

    A card has ``encoder``, ``image_shape``, ``mean``, ``std``; ``dataset`` and
    ``training`` (config, commit, passes); ``accuracies`` with their intervals;
    ``weights``, the digest of the arrays, and ``sha256`` of the file; ``unseen``.
    """
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


@lru_cache(maxsize=8)
def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def named(source: str) -> str:
    """The name in a ``victim.source`` that is a shipped one; "" for any other.

    Raises:
        UserError: There is none of that name.
    """
    kind, _, name = source.partition(":")
    if kind != "shipped":
        return ""
    pick(victims(), name, "shipped victim")
    return name


def file_of(name: str) -> Path:
    """The weights of a shipped victim, as they were shipped.

    Raises:
        UserError: They are missing or damaged.
    """
    path = FOLDER / f"{name}.safetensors"
    whole = (
        path.is_file()
        and hashlib.sha256(path.read_bytes()).hexdigest() == victims()[name]["sha256"]
    )
    refuse_if(
        not whole, f"{path} is missing or not what sslx came with; install sslx again"
    )
    return path


def unseen(name: str) -> np.ndarray:
    """Marks of the images that a victim did not see, as of ``sslx.data.marks``."""
    return np.frombuffer(base64.b64decode(victims()[name]["unseen"]), "<i8")


def card(facts: dict[str, Any], marks: np.ndarray) -> str:
    """The text of a card.

    Args:
        facts: All but the images.
        marks: Of those that the victim did not see.
    """
    rows = np.unique(marks).astype("<i8")
    coded = base64.b64encode(rows.tobytes()).decode()
    return json.dumps(facts | {"unseen": coded}, indent=1) + "\n"
