"""Six thefts, four budgets, three victims: a whole study on two cores.

Command: python launch.py --config=configs/study_builtin.py
Time: about half an hour on two cores beside other work
Expected: the table of docs/measurements.md

Victim, network, data and passes are those of digits_direct.py, numbers of losses and
attacks those of digits_attack.py. Each seed is a victim of its own and a stealer of its
own. The independent encoders are two more, which nobody steals.
"""

from configs import digits_attack

LOSSES = ("mse", "infonce", "softnn", "barlow")  # of direct theft
ATTACKS = ("stolen_encoder", "warm_start")
BUDGETS = (450, 225, 90, 30)
SEEDS = (0, 1, 2)


def get_config():
    """The headline is digits_direct.py's."""
    c = digits_attack.get_config()
    c.study.name = "study_builtin"
    first, *more = map(digits_attack.theft, ATTACKS)
    c.study.grid = (
        (first, *map(digits_attack.direct, LOSSES), *more),
        tuple(f"steal.queries={n}" for n in BUDGETS),
        tuple(f"seed={n}" for n in SEEDS),
    )
    c.probe.reference = True
    c.probe.independent = 2
    return c
