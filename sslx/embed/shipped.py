"""Victims that come with sslx: ``shipped:NAME``, weights and a card each.

The card, JSON beside the weights, says how the victim was trained and which images it
did not see: those are an attacker's, whatever ``data.split_seed`` says.
"""

import base64
import hashlib
import json
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sslx.registry import pick
from sslx.types import refuse_if

FOLDER = Path(__file__).parents[1] / "shipped"
FOUND = 0.99  # of the images it did not see, that a data set must have


def victims() -> dict[str, dict[str, Any]]:
    """The cards of all shipped victims, by name; copies, the reader's own.

    A card has ``encoder``, ``image_shape``, ``mean``, ``std``; ``dataset`` and
    ``training`` (recipe, commit, passes; images and FLOPs where they were noted);
    ``accuracies`` with their intervals; ``weights``, the digest of the arrays, and
    ``sha256`` of the file. What it did not see, the function ``unseen`` says.

    Raises:
        UserError: A card is damaged.
    """
    return _cards("*")


def _cards(which: str) -> dict[str, dict[str, Any]]:
    cards = {path.stem: _read(path) for path in sorted(FOLDER.glob(f"{which}.json"))}
    apart = ("unseen", "card")
    return {
        name: deepcopy({k: v for k, v in card.items() if k not in apart})
        for name, card in cards.items()
    }


@lru_cache(maxsize=8)
def _read(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        whole = card["card"] == _digest(card)
    except (ValueError, KeyError, TypeError):
        whole = False
    refuse_if(not whole, f"{path} is not what sslx came with; install sslx again")
    return card


def _digest(card: dict[str, Any]) -> str:
    """Of all that a card says but this."""
    said = {key: value for key, value in card.items() if key != "card"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def named(source: str) -> str:
    """The name in a ``victim.source`` that is a shipped one; "" for any other.

    Raises:
        UserError: There is none of that name.
    """
    kind, _, name = source.partition(":")
    if kind != "shipped":
        return ""
    pick({p.stem: p for p in FOLDER.glob("*.json")}, name, "shipped victim")
    return name


def file_of(name: str) -> Path:
    """The weights of a shipped victim, as they were shipped.

    Raises:
        UserError: They are missing or damaged, or not those of the card.
    """
    card, path = _read(FOLDER / f"{name}.json"), FOLDER / f"{name}.safetensors"
    refuse_if(
        not path.is_file(),
        f"{path} is missing; install sslx again",
    )
    found = path.stat()
    digests = card["sha256"], card["weights"], json.dumps(card["encoder"])
    _check(path, (found.st_size, found.st_mtime_ns), *digests)
    return path


@lru_cache(maxsize=8)  # for the combinations of a grid; a file that changes is another
def _check(
    path: Path, stamp: tuple[int, int], sha256: str, weights: str, encoder: str
) -> None:
    # Orbax takes a while to import, and who reads cards needs none.
    from sslx.models.weight_files import read_trunk
    from sslx.train import checkpoint

    refuse_if(
        hashlib.sha256(path.read_bytes()).hexdigest() != sha256,
        f"{path} is not what sslx came with; install sslx again",
    )
    refuse_if(
        checkpoint.digest(read_trunk(str(path), json.loads(encoder))) != weights,
        f"the weights in {path} are not those of its card; install sslx again",
    )


def card_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The card of a run's victim; {} where it was not shipped, or is another now."""
    name = recipe.get("shipped", "")
    card = _cards(name).get(name, {})
    return card if card.get("weights") == recipe.get("weights") else {}


def trained(recipe: dict[str, Any]) -> dict[str, Any]:
    """``images``, ``passes`` and ``flops`` of a run's victim, as far as a card says.

    Images that are not noted are those of the training split less the unseen ones.
    """
    if not (card := card_of(recipe)):
        return {}
    told = card.get("training", {})
    content = told.get("recipe", {}).get("data", {}).get("tfds", {})
    if whole := content.get("examples", {}).get("train"):
        told = {"images": whole - len(unseen(recipe["shipped"]))} | told
    return {key: told[key] for key in ("images", "passes", "flops") if key in told}


def unseen(name: str) -> np.ndarray:
    """Marks of the images that a victim did not see, as of ``sslx.data.marks``."""
    card = _read(FOLDER / f"{name}.json")
    return np.frombuffer(base64.b64decode(card["unseen"]), "<i8")


def card(facts: dict[str, Any], marks: np.ndarray) -> str:
    """The text of a card.

    Args:
        facts: All but the images.
        marks: Of those that the victim did not see.
    """
    rows = np.unique(marks).astype("<i8")
    coded = base64.b64encode(rows.tobytes()).decode()
    said = facts | {"unseen": coded}
    return json.dumps(said | {"card": _digest(said)}, indent=1) + "\n"
