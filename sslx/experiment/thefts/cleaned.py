"""What an attacker makes of answers before he trains on them."""

from functools import partial
from typing import Any

from ml_collections import ConfigDict

from sslx.attacks.cleaning import CLEANERS, wanted
from sslx.attacks.cleaning.maps import KINDS
from sslx.experiment.recipes import block_of
from sslx.experiment.served import defence_of
from sslx.experiment.thefts.held_back import trained_on
from sslx.queries.plan import images_of
from sslx.registry import pick
from sslx.runs.names import Run
from sslx.types import Encoder, refuse_if


def images_asked(steal: ConfigDict) -> int:
    """Different images that a theft asks; what it sends counts views and accounts."""
    return images_of(
        {
            "queries": steal.queries,
            "views": steal.ask_views,
            "accounts": steal.accounts,
            "anchors": steal.anchors,
        }
    )


def images_trained(steal: ConfigDict) -> int:
    """Those of them that train a stealer."""
    n, blocks = images_asked(steal), _blocks(steal)
    for name, number in wanted(steal.clean, "drops").items():
        n -= round(blocks[name][number] * n)
    return trained_on(steal, n)


def _blocks(steal: ConfigDict) -> dict[str, dict[str, Any]]:
    """The numbers of each cleaner, checked."""
    out = {}
    for name in steal.clean:
        entry = pick(CLEANERS, name, "cleaner", own=True)
        out[name] = block_of(name, steal.clean_kw, entry, "cleaner")
    return out


def views_left(steal: ConfigDict) -> int:
    """Answers of each image that a stealer trains on."""
    return 1 if wanted(steal.clean, "one_answer") else steal.ask_views


def clean_part(config: ConfigDict, encoder: Encoder, responses: Run) -> dict[str, Any]:
    """The cleaners' part of a stealer's recipe; nothing where there are none.

    The digests of code of one's own are the caller's, with those of other parts.

    Raises:
        UserError: A name is unknown, or there is nothing that it could clean.
    """
    steal, names = config.steal, tuple(config.steal.clean)
    if not names:
        return {}
    numbers, traits = _blocks(steal), partial(wanted, names)
    refuse_if(len(set(names)) < len(names), f"steal.clean names one twice: {names}")
    r = responses.recipe
    refuse_if(
        bool(traits("one_answer")) and steal.ask_views == 1,
        f"steal.clean={names} takes several answers of an image together; "
        "write steal.ask_views=4",
    )
    refuse_if(
        bool(traits("anchors")) and (steal.accounts < 2 or not steal.anchors),
        f"steal.clean={names} compares what several accounts are answered to the same "
        "images; write steal.accounts=2 and steal.anchors=20",
    )
    raw = r.get("raw_dim", r["dim"])
    refuse_if(
        bool(traits("copy")) and encoder.dim != raw,
        f"steal.clean={names} wants an encoder of the attacker's own that is as wide "
        f"as the victim's answers, {raw}; {steal.encoder} has {encoder.dim}",
    )
    refuse_if(
        bool(traits("copy")) and "gradient" in defence_of(config)[0].wants,
        f"steal.clean={names} has no copy of a defence that changes images",
    )
    if "maps" in names:
        pick(KINDS, numbers["maps"]["kind"], "steal.clean_kw.maps.kind")
    version = max(traits("version").values())
    return {
        "clean": "+".join(names),
        **({"clean_version": version} if version > 1 else {}),
        "clean_numbers": {name: block for name, block in numbers.items() if block},
        **({"clean_views": 1} if traits("one_answer") else {}),
        **({"clean_dim": raw} if traits("copy") and raw != r["dim"] else {}),
    }
