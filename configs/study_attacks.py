"""Every attack and every loss on the digits, equal queries and passes, three victims.

Command: python launch.py --config=configs/study_attacks.py
Time: not measured in one piece; some 200 trainings of 5 to 15 seconds on two cores
Expected: the table of docs/attacks.md

Attacks are those of digits_attack.py; losses are those of direct theft, with the
numbers of configs/default.py where digits_attack.py has none. Each seed is a
victim of its own and a stealer of its own.
"""

from configs import default, digits_attack

LOSSES = (
    *("cosine", "regression", "infonce", "softnn", "wasserstein", "energy"),
    *("supcon", "barlow", "vicreg", "bce", "soft_cross_entropy"),
    *("bce_reference", "soft_cross_entropy_reference"),
)
# The published code's defects that only two views of an image show.
PAIRS = ("infonce", "infonce_reference", "barlow", "barlow_reference")
SEEDS = (0, 1, 2)


def get_config():
    """The headline is digits_direct.py's."""
    c = digits_attack.get_config()
    (attacks,) = c.study.grid
    losses = (digits_attack.direct(name) for name in LOSSES)
    both = "attack=direct ask_views=2 ask_augment=mild augment=none"
    pairs = default.thefts(*(f"{both} loss={name}" for name in PAIRS))
    c.study.name = "study_attacks"
    c.study.grid = (
        (*attacks, *losses, *pairs),
        tuple(f"seed={n}" for n in SEEDS),
    )
    c.probe.independent = 2
    return c
