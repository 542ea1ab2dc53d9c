"""The study's CIFAR-10 results in one command: two victims, eleven thefts, six budgets.

Command: python launch.py --config=configs/study_cifar_full.py
Small, on two cores: --config=configs/study_cifar_full.py:cpu
Time: not measured on an accelerator; the small one about 25 minutes on two cores
Expected: not measured; the small one: victim 52.0, ssl_only 52.4, the rest in
docs/results.md

The sets, once: python -m sslx.data.prepare cifar10 cifar100 fashion_mnist svhn_cropped
(sets that are not at hand are left out).

In pieces: whatever ends the command, the same line goes on from the last step that was
saved, so `timeout 9m python launch.py ...`, again and again, does it in pieces of nine
minutes; several processes may work on it at once.

The losses' optimisers are the study's, the newer attacks' numbers their papers'. All
stealers take the same number of steps.
"""

from configs import cifar_attacks_cpu, study_cifar_losses
from configs.digits_attack import whole

LOSSES = ("mse", "infonce", "softnn", "wasserstein", "barlow", "soft_cross_entropy")
# Of cifar_attacks_cpu.py, which says why the batches differ.
ATTACKS = tuple(t for t in cifar_attacks_cpu.THEFTS if t.startswith("attack="))
BUDGETS = {"full": (500, 1_000, 3_000, 5_000, 9_000), "cpu": (9_000,)}
MORE = 50_000  # more than the victim's own set leaves over: of CIFAR-100
SEEDS = {"full": (0, 1, 2), "cpu": (0,)}


def get_config(size: str = "full"):
    """``size`` is full or cpu."""
    c = study_cifar_losses.base(size)
    c.study.name = f"study_cifar_full-{size}"
    losses = study_cifar_losses.thefts(size, LOSSES)
    attacks = [whole(f"{theft} optim.name=adam") for theft in ATTACKS]
    alone = [whole("attack=ssl_only loss=own")]
    budgets = [f"steal.queries={n}" for n in BUDGETS[size]]
    seeds = tuple(f"steal.seed={seed}" for seed in SEEDS[size])
    if size == "full":
        c.steal.steps = 100 * (9000 // 256)
        c.steal.ssl.epochs = 200
        budgets.append(f"steal.queries={MORE} steal.pool=cifar100")
        c.probe.datasets = ("cifar10", "cifar100", "svhn_cropped", "fashion_mnist")
        victims = tuple(
            f"victim.encoder={name} steal.encoder={name}"
            for name in ("resnet34", "resnet18")
        )
    else:
        c.probe.few_labels = (0.01,)
        c.probe.independent = 0  # a victim takes minutes here; ssl_only is another
        attacks = [whole(theft) for theft in ATTACKS]
        victims = ("victim.encoder=conv3",)
    c.probe.skip_missing = True
    c.study.grid = (victims, (*losses, *attacks, *alone), tuple(budgets), seeds)
    return c
