"""One attack of all, or all of them, on the digits of digits_direct.py.

Command: python launch.py --config=configs/digits_attack.py:rda
All of them in one report: --config=configs/digits_attack.py
Time: under a minute for one attack, 5 minutes for all, on two cores beside other work
Expected: (linear probe, mean of seeds 0, 1, 2) victim 92.6 %, ssl_only 93.5, warm_start
92.9, rda 92.5, direct 91.5, stolen_encoder 91.4, knockoff 89.5, label_theft 88.0,
untrained 55.8; the others in docs/attacks.md

Every attack sends the same number of images, 450: where it wants several views of each
it has fewer images. Network, steps and optimiser are alike; the attacks' own numbers
are those of configs/default.py, but for what 450 queries and so small a network ask
for.
"""

from configs import default, digits_direct
from sslx.registry import pick

MILD = {"ask_augment": "mild"}
# Attack -> what of the steal section it changes; its "service.output" is the service's.
ATTACKS = {
    "direct": {"attack": "direct", "loss": "mse"},
    "own_head": {"attack": "own_head", "loss": "mse"},
    "access_head": {
        "attack": "access_head",
        "loss": "infonce",
        "service.output": "projection",
    },
    "recreate_head": {"attack": "recreate_head", "loss": "infonce", "ask_views": 2}
    | MILD,
    "symmetrized": {"attack": "symmetrized", "loss": "own", "ask_views": 2} | MILD,
    "stolen_encoder": {"attack": "stolen_encoder", "loss": "own", "augment": "mild"},
    "cont_steal": {"attack": "cont_steal", "loss": "own", "augment": "mild"} | MILD,
    "cont_steal_released": {
        "attack": "cont_steal",
        "loss": "own",
        "attack_kw.cont_steal.form": "released",
        "attack_kw.cont_steal.temperature": 0.5,
    }
    | MILD,
    "rda": {"attack": "rda", "loss": "own", "ask_views": 10, "augment": "mild"} | MILD,
    "warm_start": {"attack": "warm_start", "loss": "mse"},
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
    c.steal.queries = 450
    c.steal.steps = 200
    c.steal.loss_kw.infonce.temperature = 0.1
    c.steal.attack_kw.symmetrized.update({"hidden": 128, "predictor": 64})
    for part in (c.steal.ssl, c.steal.head):
        part.optim.name = "adamw"
        part.optim.learning_rate = 2e-3
        part.batch_size = 128
        part.steps = 300
    c.steal.ssl.augment = "mild"
    c.steal.ssl.objective_kw.simclr.temperature = 0.2
    for key, value in pick(ATTACKS, attack or "direct", "attack").items():
        in_service = key.startswith("service.")
        (c if in_service else c.steal).update_from_flattened_dict({key: value})
    changes = [
        " ".join(f"{key}={value}" for key, value in changes.items())
        for changes in ATTACKS.values()
    ]
    c.study.grid = () if attack else (default.thefts(*changes),)
    return c
