"""What runs and figures are called: runs by what tells them apart, and no seed."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sslx.data.presets import PRESETS
from sslx.embed import shipped
from sslx.runs.lineage import Node, data_slug
from sslx.runs.names import fingerprint
from sslx.service.terms import LIMITS

Settings = dict[str, str]  # dotted key -> value
PLAIN = {
    "defence": "none",
    "accounts": "1",
    "plan": "random",
    "views": "1",
    "ask_augment": "none",
}
EVALUATORS = {
    "knn": "kNN",
    "linear_balanced": "linear, classes alike",
    "linear_one_each": "one label a class",
    "reference_probe": "reference probe",
    "svm": "SVM",
}


def short(dataset: str) -> str:
    """A data set's name without the folders of its file."""
    kind, colon, rest = dataset.partition(":")
    return kind + colon + rest.rpartition("/")[2]


def evaluator(name: str) -> str:
    """A probe in words."""
    kind, _, share = name.partition("_")
    if kind == "linear" and share.replace(".", "").isdigit():
        return f"{100 * float(share):g} % of labels"
    return EVALUATORS.get(name, name)


def settings_of(node: Node) -> Settings:
    """A run's recipe as ``dotted.key -> value``, without its seeds.

    Augmentations go by the name that was chosen, which the run's meta has among its
    ``words``; without it by the first preset that is equal.
    """
    words = node.meta.get("words", {})
    return flat(node.recipe) | {k: v for k, v in words.items() if k != "left_out"}


def flat(recipe: dict[str, Any], path: str = "") -> Settings:
    """A recipe as ``dotted.key -> value``, without seeds and digests of code."""
    out: Settings = {}
    for key, value in recipe.items():
        if isinstance(value, dict) and key != "code":
            out |= flat(value, f"{path}{key}.")
        elif key not in ("seed", "code"):  # digests say nothing to a reader
            out[path + key] = _told(value)
    return out


def _told(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return _presets().get(fingerprint(value), fingerprint(value))
    if isinstance(value, list):
        return ",".join(map(_told, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _presets() -> dict[str, str]:
    """Fingerprint of a preset's recipes, of all views or of the first -> its name."""
    out: dict[str, str] = {}
    for name, recipes in PRESETS.items():
        views = [recipe._asdict() for recipe in recipes]
        for some in (views, views[:1]):
            out.setdefault(fingerprint(some), name)
    return out


def telling(settings: Iterable[Settings]) -> list[str]:
    """The keys that tell settings apart, in their order.

    A key that splits no group which those before it have left together says nothing
    new (an encoder's widths after its name) and is left out. A defence comes first, for
    the width of answers follows from it; limits last, which follow from who asks how
    much, and before them what a cleaner's own encoder is.
    """
    different = list({tuple(s.items()): s for s in settings}.values())
    found = dict.fromkeys(key for s in different for key in s)
    last = {k: 2 * (k.rpartition(".")[2] in LIMITS) or k[:4] == "own." for k in found}
    keys = sorted(found, key=lambda key: (last[key], key != "defence"))
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
        f"{key if last.count(end) > 1 else end}={settings[key]}"
        for key, end in zip(keys, last, strict=True)
        if key in settings
    ]


def _last(key: str) -> str:
    """``optim.learning_rate`` as learning_rate, ``optim.name`` as optim."""
    *path, last = key.split(".")
    return path[-1] if last == "name" and path else last


class Told(NamedTuple):
    """What a theft is called after.

    Attributes:
        attack: Its name.
        loss: Its name, "own" for an attack that brings one.
        work: Queries; of what asks nothing its images and passes, too.
        kind: The victim's, in words.
        settings: All others.
    """

    attack: str
    loss: str
    work: tuple[int | None, ...]
    kind: str
    settings: Settings


def named(attack: str, loss: str) -> list[str]:
    """Attack and loss, but "direct" and a loss that the attack brings."""
    found = [attack] * (attack != "direct" or loss == "own")
    return found + [loss] * (loss != "own")


def thefts(told: list[Told]) -> list[tuple[str, Settings]]:
    """The label of each theft, and all settings in which it differs from its like.

    The label is attack and loss, and what tells the theft from its like.

    Args:
        told: Of each. Its like are those with the same of the first four; a key that
            tells some of one budget apart is named at all budgets.
    """
    groups: dict[tuple, list[Settings]] = {}
    for *which, settings in told:
        groups.setdefault(tuple(which), []).append(settings)
    keys: dict[tuple, dict[str, None]] = {}
    for (attack, loss, *_), alike in groups.items():
        keys.setdefault((attack, loss), {}).update(dict.fromkeys(telling(alike)))
    out = []
    for attack, loss, work, kind, settings in told:
        # A defence is always named; what is plain goes without saying.
        own_keys = [key for key in keys[attack, loss] if key != "defence"] + ["defence"]
        telling_keys = [k for k in own_keys if PLAIN.get(k) != settings.get(k)]
        label = " ".join([*named(attack, loss), *words(settings, telling_keys)])
        alike = groups[attack, loss, work, kind]
        own = {
            key: value
            for key, value in settings.items()
            if any(other.get(key) != value for other in alike)
        }
        out.append((label, own))
    return out


def told(nodes: dict[str, Node], kind: str, steal: str) -> Told:
    """What a theft is called after, for ``thefts``."""
    node = nodes[steal]
    settings = _settings(nodes, node)
    attack, loss = node.recipe["attack"], node.recipe.get("loss", "own")
    work: tuple[int | None, ...] = (queries(nodes, node),)
    if asks_nothing(node):
        work = (0, node.meta.get("images"), node.meta.get("passes"))
        # It is called after its images.
        asked = "asked" in node.recipe or "asked" in node.parents
        attack = "asked" if asked else "pool"
        settings = {k: v for k, v in settings.items() if not k.startswith("asked.")}
    for key in ("attack", "loss", "queries", "ssl.attack", "head.attack"):
        settings.pop(key, None)
    return Told(attack, loss, work, kind, settings)


def asks_nothing(steal: Node) -> bool:
    """Whether a stealer was trained without an answer."""
    return "responses" not in steal.parents


def _settings(nodes: dict[str, Node], node: Node, path: str = "") -> Settings:
    """Of a run and of what it builds on; a victim and a first stealer tell nothing."""
    out: Settings = {}
    for role, parent in node.parents.items():
        if role not in ("victim", "first") and parent in nodes:
            # What was asked is spoken of without its block, as in the config.
            inner = path if role == "responses" else f"{path}{role}."
            out |= _settings(nodes, nodes[parent], inner)
    return out | {path + k: v for k, v in settings_of(node).items()}


def queries(nodes: dict[str, Node], steal: Node) -> int:
    """How many images a stealer's answers are to; 0 for none."""
    asked = nodes.get(steal.parents.get("responses", ""))
    return asked.recipe.get("queries", 0) if asked else 0


def kinds(victims: list[Node]) -> dict[str, str]:
    """Key of each victim's run -> what it is, but for its seed."""
    alike: dict[str, list[Node]] = {}
    for node in victims:
        alike.setdefault(" ".join(_plain(node)), []).append(node)
    out = {}
    for plain, nodes in alike.items():
        settings = [settings_of(node) for node in nodes]
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
        data_slug(node) or short(shipped.card_of(r).get("dataset", "")),
    )
    yield from (str(part) for part in parts if part)


def cell(theft: str, work: tuple[int | None, ...], kind: str) -> str:
    """What a theft is called with its budget; ``kind`` of the victim, "" if but one."""
    queries, *own = work
    budget = [f"{queries} queries"] if queries else []
    words = ("images", "passes")
    budget += [f"{n} {word}" for n, word in zip(own, words, strict=False) if n]
    return ", ".join(filter(None, (theft, *budget, kind)))
