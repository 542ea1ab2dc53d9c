"""Seven thefts, four budgets, three victims: a whole study on two cores.

Command: python launch.py --config=configs/study_builtin.py
Time: 11 minutes on two cores beside other work
Expected: (linear probe, mean of three seeds) victim 92.6, ssl_only 93.5, independent
93.6, untrained 55.8; mse 69.9, 83.3, 91.5, 92.7 with 45, 135, 450, 1,350 queries,
warm_start 86.9, 89.9, 92.9, 93.8; the rest in README.md

Victim, network and data are those of digits_direct.py. Each seed is a victim of its
own and a stealer of its own. The independent encoders are three more, which nobody
steals.
"""

from configs import default, digits_attack, digits_direct

THEFTS = (
    "loss=mse",
    "loss=infonce",
    "loss=softnn",
    "loss=barlow",
    "attack=stolen_encoder loss=own augment=mild",
    "attack=warm_start loss=mse",
    "attack=ssl_only loss=own",
)
BUDGETS = (45, 135, 450, 1350)
SEEDS = (0, 1, 2)


def get_config():
    """ssl_only asks nothing, so its combinations with the budgets are one theft."""
    c = digits_attack.get_config("direct")
    c.study.name = "study_builtin"
    c.study.grid = (
        default.thefts(*THEFTS),
        tuple(f"steal.queries={n}" for n in BUDGETS),
        tuple(f"seed={n}" for n in SEEDS),
    )
    c.victim.steps = digits_direct.get_config().victim.steps
    c.probe.few_labels = (0.1,)
    c.probe.reference = True
    c.probe.independent = 3
    return c
