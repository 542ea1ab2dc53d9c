"""Ten thefts of the reference victim, four budgets, three seeds, on two cores.

Command: python launch.py --config=configs/study_reference.py
Time: not measured
Expected: docs/results.md

The sets, once: sslx prepare cifar10 (cifar100, fashion_mnist and svhn_cropped are
probed where they are at hand)

Every theft makes as many passes, at every budget, and so does what stands beside it
without an answer. :pools asks images of CIFAR-100 and SVHN.
"""

from configs import cifar_reference, default
from sslx.registry import pick

PASSES = 250_000
MSE = "loss=mse"
HEAD = "ask_views=2 ask_augment=simclr_cifar"
# Of the section steal; what each differs in from cifar_reference.py.
THEFTS = (
    MSE,
    "loss=infonce",
    "loss=softnn",
    "attack=stolen_encoder loss=own",
    "attack=cont_steal loss=own ask_augment=simclr_cifar",
    "attack=rda loss=own ask_views=10 ask_augment=rda_prototype augment=rda",
    f"attack=warm_start loss=mse passes={PASSES // 2} ssl.passes={PASSES // 2}",
    f"attack=recreate_head loss=infonce {HEAD}",
    "attack=label_theft loss=own service.output=label",
    "attack=knockoff loss=own service.output=probabilities",
)
FEW = THEFTS[:1]  # at the other budgets, too
BUDGETS = (500, 1_000, 3_000)
POOLS = {"cifar100": (9_000, *BUDGETS), "svhn_cropped": BUDGETS}
SEEDS = tuple(f"steal.seed={seed}" for seed in (0, 1, 2))


def get_config(part: str = "core"):
    """``part`` is core, pools or seed0, the core's first seed alone."""
    c = cifar_reference.get_config()
    c.study.name = f"study_reference-{part}"
    c.steal.passes = c.steal.ssl.passes = c.steal.head.passes = PASSES
    c.steal.alone = default.get_config().steal.alone
    others = [f"{theft} queries={n}" for theft in FEW for n in BUDGETS]
    core = (default.thefts(*THEFTS, *others), SEEDS)
    pools = [f"{MSE} pool={p} queries={n}" for p, own in POOLS.items() for n in own]
    grids = {
        "core": core,
        "seed0": (core[0], SEEDS[:1]),
        "pools": (default.thefts(MSE, *pools),),
    }
    c.study.grid = pick(grids, part, "part")
    c.probe.datasets = ("cifar10", "cifar100", "fashion_mnist", "svhn_cropped")
    c.probe.skip_missing = True
    c.data.size = 32  # Fashion-MNIST has 28 pixels of grey
    c.data.channels = 3
    return c
