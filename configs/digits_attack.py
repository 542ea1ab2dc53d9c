"""One attack of all, or all of them, on the digits of digits_direct.py.

Command: python launch.py --config=configs/digits_attack.py:rda
All of them in one report: --config=configs/digits_attack.py
Time: TIME1 for one attack, TIME2 for all, on two cores
Expected: the table of docs/attacks.md, which has three seeds (study_attacks.py)

Every attack sends the same number of images, 450: where it wants several views of each
it has fewer images. Network and passes are alike; temperatures, rates and augmentations
are chosen on answers that were held back (docs/choosing.md).
"""

from typing import Any

from configs import default, digits_direct
from sslx.registry import pick

HALF = digits_direct.PASSES // 2
PAIR = {"ask_views": 2, "ask_augment": "mild"}
PLAIN = {"augment": "none"}  # it sees the views as they were sent
# Attack -> what of the steal section it changes; its "service.output" is the service's.
ATTACKS: dict[str, dict[str, Any]] = {
    "direct": {"attack": "direct", "loss": "mse"},
    "own_head": {
        "attack": "own_head",
        "loss": "mse",
        "attack_kw.own_head.train_on": "image",
    },
    "access_head": {
        "attack": "access_head",
        "loss": "infonce",
        "attack_kw.access_head.train_on": "image",
        "service.output": "projection",
    },
    "recreate_head": {
        "attack": "recreate_head",
        "loss": "infonce",
        "attack_kw.recreate_head.train_on": "image",
        **PAIR,
    },
    "symmetrized": {
        "attack": "symmetrized",
        "loss": "own",
        "attack_kw.symmetrized.train_on": "image",
        **PAIR,
    },
    "stolen_encoder": {"attack": "stolen_encoder", "loss": "own"},
    "cont_steal": {"attack": "cont_steal", "loss": "own", "ask_augment": "mild"},
    "cont_steal_released": {
        "attack": "cont_steal",
        "loss": "own",
        "attack_kw.cont_steal.form": "released",
        "attack_kw.cont_steal.temperature": 0.5,
        "ask_augment": "mild",
        **PLAIN,
    },
    "rda": {"attack": "rda", "loss": "own", "ask_views": 10, "ask_augment": "mild"},
    "warm_start": {
        "attack": "warm_start",
        "loss": "mse",
        "attack_kw.warm_start.train_on": "image",
        "passes": HALF,
        "ssl.passes": HALF,
    },
    "ssl_only": {"attack": "ssl_only", "loss": "own"},
    "label_theft": {
        "attack": "label_theft",
        "loss": "own",
        "service.output": "label",
    },
    "knockoff": {
        "attack": "knockoff",
        "loss": "own",
        "service.output": "probabilities",
    },
}


def get_config(attack: str = ""):
    """The experiment of one attack, or of all with ``direct`` as the headline."""
    c = digits_direct.get_config()
    c.steal.loss_kw.infonce.temperature = 0.1
    c.steal.loss_kw.softnn.temperature = 10.0
    c.steal.attack_kw.symmetrized.update({"hidden": 128, "predictor": 64})
    c.steal.head.optim.update(c.steal.optim)
    c.steal.head.update({"batch_size": c.steal.batch_size, "passes": c.steal.passes})
    for key, value in pick(ATTACKS, attack or "direct", "attack").items():
        in_service = key.startswith("service.")
        (c if in_service else c.steal).update_from_flattened_dict({key: value})
    c.study.grid = () if attack else (tuple(changes(name) for name in ATTACKS),)
    return c


def changes(attack: str) -> str:
    """What makes it of another's config; an entry of an axis of ``study.grid``."""
    pairs = (f"{key}={value}" for key, value in ATTACKS[attack].items())
    (change,) = default.thefts(" ".join(pairs))
    return change
