"""Accuracy against queries on CIFAR-10, from 500 to 50,000, three stealers each.

Command: python launch.py --config=configs/study_cifar_queries.py
Small, on two cores: --config=configs/study_cifar_queries.py:cpu
Time: not measured; the small one about 75 minutes
Expected: not measured

The sets, once: sslx prepare cifar10 cifar100 (and the others of
cifar_direct.py, for the large one).

The attacker asks images of CIFAR-100: 50,000 of them, natural, and none that the victim
has seen. The study swept these budgets over the victim's own training images, or over
SVHN: --config.steal.pool=svhn_cropped. The number of steps is the same at all budgets,
that of 100 epochs at 9,000 queries in the loss's own batch, so that the curve shows
what answers buy and not what more steps do. The victim is one, so intervals say nothing
of others.
"""

from configs import study_cifar_losses

BUDGETS = (500, 1_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000)
LOSSES = ("mse", "infonce", "softnn")
SEEDS = study_cifar_losses.SEEDS


def get_config(size: str = "full"):
    """``size`` is full or cpu."""
    c = study_cifar_losses.base(size)
    c.study.name = f"study_cifar_queries-{size}"
    c.steal.pool = "cifar100"
    c.study.grid = (
        study_cifar_losses.thefts(size, LOSSES),
        tuple(f"steal.queries={n}" for n in BUDGETS),
        tuple(f"steal.seed={seed}" for seed in SEEDS),
    )
    return c
