"""What runs of a study are called: by what tells them apart, and no seed."""

from collections.abc import Iterable, Iterator
from typing import Any

from sslx.data.presets import PRESETS
from sslx.experiment.recipes import views_of
from sslx.runs.lineage import Node, data_slug
from sslx.runs.names import fingerprint

Settings = dict[str, str]  # dotted key -> value


def flat(recipe: dict[str, Any], path: str = "") -> Settings:
    """A recipe as ``dotted.key -> value``, without its seeds.

    Augmentations are given by the name of their preset.
    """
    out: Settings = {}
    for key, value in recipe.items():
        if key == "seed":
            continue
        if isinstance(value, dict):
            out |= flat(value, f"{path}{key}.")
        else:
            out[path + key] = _told(value)
    return out


def _told(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for name in PRESETS:
            views = fingerprint(views_of(name)), fingerprint(views_of(name)[:1])
            if fingerprint(value) in views:
                return name
        return fingerprint(value)
    if isinstance(value, list):
        return ",".join(map(_told, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def telling(settings: Iterable[Settings]) -> list[str]:
    """The keys that tell settings apart, in their order.

    A key that splits no group which those before it have left together says nothing
    new (an encoder's widths after its name) and is left out.
    """
    different = list({tuple(s.items()): s for s in settings}.values())
    keys = dict.fromkeys(key for s in different for key in s)
    kept: list[str] = []
    groups = 1
    for key in keys:
        finer = len({tuple(s.get(k) for k in [*kept, key]) for s in different})
        if finer > groups:
            kept, groups = [*kept, key], finer
    return kept


def words(settings: Settings, keys: list[str]) -> list[str]:
    """``key=value`` of keys, without the blocks they lie in where that is clear."""
    last = [_last(key) for key in keys]
    return [
        f"{key if last.count(short) > 1 else short}={settings[key]}"
        for key, short in zip(keys, last, strict=True)
        if key in settings
    ]


def _last(key: str) -> str:
    """``optim.learning_rate`` as learning_rate, ``optim.name`` as optim."""
    *path, last = key.split(".")
    return path[-1] if last == "name" and path else last


def thefts(
    told: list[tuple[str, str, int, str, Settings]],
) -> list[tuple[str, Settings]]:
    """The label of each theft, and all settings in which it differs from its like.

    The label is attack and loss, and what tells the theft from its like.

    Args:
        told: (attack, loss, queries, kind of victim, settings) of each. Its like are
            those with the same of the first four; a key that tells some of one budget
            apart is named at all budgets.
    """
    groups: dict[tuple, list[Settings]] = {}
    for *which, settings in told:
        groups.setdefault(tuple(which), []).append(settings)
    keys: dict[tuple, dict[str, None]] = {}
    for (attack, loss, *_), alike in groups.items():
        found = keys.setdefault((attack, loss), {})
        found |= dict.fromkeys(telling(alike))
    out = []
    for attack, loss, queries, kind, settings in told:
        # "direct" goes without saying, and so does a loss that the attack brings.
        named = [attack] * (attack != "direct" or loss == "own")
        named += [loss] * (loss != "own")
        label = " ".join(named + words(settings, list(keys[attack, loss])))
        alike = groups[attack, loss, queries, kind]
        own = {
            key: value
            for key, value in settings.items()
            if any(other.get(key) != value for other in alike)
        }
        out.append((label, own))
    return out


def kinds(victims: list[Node]) -> dict[str, str]:
    """Key of each victim's run -> what it is, but for its seed."""
    alike: dict[str, list[Node]] = {}
    for node in victims:
        alike.setdefault(" ".join(_plain(node)), []).append(node)
    out = {}
    for plain, nodes in alike.items():
        settings = [flat(node.recipe) for node in nodes]
        keys = telling(settings)
        for node, own in zip(nodes, settings, strict=True):
            out[node.key] = " ".join([plain, *words(own, keys)])
    return out


def _plain(node: Node) -> Iterator[str]:
    """Method or origin, network and data of a victim."""
    r = node.recipe
    parts = (
        r.get("objective") or r.get("origin"),
        (r.get("encoder") or {}).get("name") or r.get("function"),
        data_slug(node),
    )
    yield from (str(part) for part in parts if part)
