"""The study's CIFAR-10 results in one command: two victims, eleven thefts, two pools.

Command: python launch.py --config=configs/study_cifar_full.py
Its core, one victim and five losses: --config=configs/study_cifar_full.py:core
Small, on two cores: --config=configs/study_cifar_full.py:cpu
Time: not measured on an accelerator; the small one about an hour on two cores
Expected: not measured; the small one's victim 52.0

The sets, once: sslx prepare cifar10 cifar100 fashion_mnist svhn_cropped
(cifar10 and, for the large one, cifar100, which is asked, are needed; of the others
those not at hand are left out).

In pieces: whatever ends the command, the same line goes on from the last step that was
saved, so `timeout 9m python launch.py ...`, again and again, does it in pieces of nine
minutes; several processes may work on it at once.

The large one, counted: 462 combinations (2 networks, 11 thefts, 7 budgets, 3 seeds),
which are 432 stealers, since ssl_only asks nothing and is one for all budgets of a
pool; 2 victims and 2 that nobody steals, 126 sets of answers, 1,756 probes on four
sets. On disk about 180 GB by arithmetic, nearly all of it the stealers' checkpoints
with their optimisers (ResNet-34 0.34 GB, ResNet-18 0.18 GB, one or two each); features
are not kept, which would be 260 GB more.

core is part of it: a ResNet-18 victim, five losses, 9,000 queries, 15 stealers, probes
on CIFAR-10 alone. Arithmetic, not measured: about 85 PFLOP of training; at 200 TFLOP/s
7 minutes. Its disk: about 4 GB.

There are three seeds of the stealer and one victim of each network, so an interval
says nothing of other victims.

Batch, optimiser and rate are the study's for the losses, the authors' for the newer
attacks (cifar_stolen_encoder.py, cifar_cont_steal.py, cifar_rda.py), mse's for
warm_start. Each stealer takes the steps of 100 epochs of 9,000 queries in its own
batch, at all budgets; RDA's 9,000 are ten views each of 900 images. What trains without
answers takes 200 epochs of 10,000 images, on either pool.

There are two curves: images of CIFAR-10 that the victim did not see, up to 9,000, and
images of CIFAR-100, 9,000 and 50,000. Both have 9,000, so the report names the pool.
"""

from configs import cifar_attacks_cpu, default, study_cifar_losses
from configs.study_cifar_losses import steps

LOSSES = ("mse", "infonce", "softnn", "wasserstein", "barlow", "soft_cross_entropy")
# Of cifar_attacks_cpu.py, which says why the batches differ.
SMALL = tuple(t for t in cifar_attacks_cpu.THEFTS if t.startswith("attack="))
ATTACKS = (
    "attack=stolen_encoder loss=own augment=stolen_encoder batch_size=64 "
    "optim.name=sgd optim.learning_rate=0.064 optim.weight_decay=5e-4 "
    f"steps={steps(64)}",
    "attack=cont_steal loss=own ask_augment=simclr_cifar augment=simclr_cifar "
    f"batch_size=32 optim.learning_rate=3e-4 steps={steps(32)}",
    "attack=rda loss=own ask_views=10 ask_augment=rda_prototype augment=rda "
    f"batch_size=100 optim.learning_rate=1e-3 steps={steps(100, views=10)}",
    "attack=warm_start loss=mse batch_size=64 optim.learning_rate=1e-3 "
    f"steps={steps(64)}",
)
ALONE = "attack=ssl_only loss=own"  # asks nothing: one for all budgets of a pool
HELD_OUT = (500, 1_000, 3_000, 5_000, 9_000)
CIFAR100 = (9_000, 50_000)  # held out are 10,000
SEEDS = tuple(f"steal.seed={seed}" for seed in study_cifar_losses.SEEDS)


def get_config(size: str = "full"):
    """``size`` is full, core or cpu."""
    c = study_cifar_losses.base("full" if size == "core" else size)
    c.study.name = f"study_cifar_full-{size}"
    c.probe.skip_missing = True
    if size == "cpu":
        c.probe.few_labels = (0.01,)
        c.probe.independent = 0  # a victim takes minutes here; ssl_only is another
        others = default.thefts(*SMALL, ALONE)
        c.study.grid = (
            ("victim.encoder=conv3",),
            (*study_cifar_losses.thefts(size, LOSSES), *others),
            ("steal.queries=9000",),
            SEEDS,
        )
        return c
    victims = tuple(
        f"victim.encoder={name} steal.encoder={name}"
        for name in ("resnet18", "resnet34")
    )
    if size == "core":
        thefts = study_cifar_losses.thefts("full", LOSSES[:5])
        c.study.grid = (victims[:1], thefts, ("steal.queries=9000",), SEEDS)
        c.probe.datasets = ("cifar10",)
        c.probe.few_labels = ()
        c.probe.independent = 0
        return c
    c.steal.ssl.steps = 200 * (10_000 // 256)
    c.study.passes = "as given"  # each attack's authors'
    c.probe.datasets = ("cifar10", "cifar100", "svhn_cropped", "fashion_mnist")
    thefts = study_cifar_losses.thefts(size, LOSSES)
    budgets = [f"steal.queries={n}" for n in HELD_OUT]
    budgets += [f"steal.queries={n} steal.pool=cifar100" for n in CIFAR100]
    others = default.thefts(*ATTACKS, ALONE)
    c.study.grid = (victims, (*thefts, *others), tuple(budgets), SEEDS)
    return c
