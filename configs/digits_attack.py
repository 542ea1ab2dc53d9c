"""One attack of all, or all of them, on the digits of digits_direct.py.

Command: python launch.py --config=configs/digits_attack.py:rda
All of them in one report: --config=configs/digits_attack.py
Time: about a minute and a half for one attack, five for all, on two cores
Expected: about the table of docs/attacks.md, which is of three seeds (study_attacks.py)

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
SLOW, FAST = ({"optim.learning_rate": rate} for rate in (2e-3, 8e-3))  # of 4e-3
# Attack -> what of the steal section it changes; its "service.output" is the service's.
ATTACKS: dict[str, dict[str, Any]] = {
    "stolen_encoder": {"attack": "stolen_encoder", "loss": "own"},
    "direct": {"attack": "direct", "loss": "mse", **PLAIN, **FAST},
    "own_head": {
        "attack": "own_head",
        "loss": "mse",
        "attack_kw.own_head.train_on": "image",
        **SLOW,
    },
    "access_head": {  # its numbers are those of own_head
        "attack": "access_head",
        "loss": "infonce",
        "attack_kw.access_head.train_on": "image",
        "service.output": "projection",
        **SLOW,
    },
    "recreate_head": {
        "attack": "recreate_head",
        "loss": "infonce",
        "attack_kw.recreate_head.train_on": "image",
        "head.optim.learning_rate": 2e-3,
        **PAIR,
        **SLOW,
    },
    "symmetrized": {
        "attack": "symmetrized",
        "loss": "own",
        "attack_kw.symmetrized.train_on": "image",
        **PAIR,
        **SLOW,
    },
    "cont_steal": {
        "attack": "cont_steal",
        "loss": "own",
        "ask_augment": "mild",
        **SLOW,
    },
    "cont_steal_released": {
        "attack": "cont_steal",
        "loss": "own",
        "attack_kw.cont_steal.form": "released",
        "attack_kw.cont_steal.temperature": 0.5,
        "ask_augment": "mild",
        **PLAIN,
        **SLOW,
    },
    "rda": {
        "attack": "rda",
        "loss": "own",
        "ask_views": 10,
        "ask_augment": "mild",
        **SLOW,
    },
    "warm_start": {
        "attack": "warm_start",
        "loss": "mse",
        "passes": HALF,
        "ssl.passes": HALF,
        **PLAIN,
        **SLOW,
    },
    "ssl_only": {"attack": "ssl_only", "loss": "own", "ssl.images": "asked"},
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
IMAGE = {"attack_kw.direct.train_on": "image"}
# Losses of direct theft; those that are not here have IMAGE's.
LOSSES: dict[str, dict[str, Any]] = {
    "mse": PLAIN | FAST,
    "infonce": IMAGE | FAST,
}


def get_config(attack: str = ""):
    """The experiment of one attack, or of all; the headline is digits_direct.py's."""
    c = digits_direct.get_config()
    c.steal.loss_kw.infonce.temperature = 0.1
    c.steal.loss_kw.softnn.temperature = 1.0
    c.steal.attack_kw.symmetrized.update({"hidden": 128, "predictor": 64})
    c.steal.head.optim.update(c.steal.optim)
    c.steal.head.update({"batch_size": c.steal.batch_size, "passes": c.steal.passes})
    c.study.grid = (tuple(_change(own) for own in ATTACKS.values()),)
    if attack:
        c.study.grid = ((_change(pick(ATTACKS, attack, "attack")),),)
    return c


def theft(attack: str) -> str:
    """An attack as a change of another's config, for an axis of ``study.grid``."""
    return _change(ATTACKS[attack])


def direct(loss: str) -> str:
    """Direct theft by a loss, likewise."""
    own = LOSSES.get(loss, IMAGE)
    return _change({"attack": "direct", "loss": loss} | own)


def _change(own: dict[str, Any]) -> str:
    (change,) = default.thefts(" ".join(f"{key}={v}" for key, v in own.items()))
    return change
