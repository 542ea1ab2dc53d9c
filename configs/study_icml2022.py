"""The study's headline figures beside ours, in the study's own settings on CIFAR-10.

Command: python launch.py --config=configs/study_icml2022.py
Small, on two cores: --config=configs/study_icml2022.py:cpu
The ImageNet row, with PyTorch weights of the victim (imagenet_direct.py):
--config=configs/study_icml2022.py:imagenet --config.victim.weights=FILE
Time: not measured
Expected: not measured; the published figures are those of PUBLISHED

The sets, once: sslx prepare cifar10 (and those of cifar_direct.py, for the large one;
those not at hand are left out).

The report has a table in which each published figure stands beside the row of ours with
the same victim's data, probe's data, loss and queries, or "not run". Images are divided
as the study divided them: the victim trains on all 50,000, the attacker asks the first
9,000 test images, and figures are on the last 1,000. Losses have the study's batch,
optimiser and rate, and 100 epochs each; the schedule is one cosine (cifar_direct.py).
The reference probe is the study's protocol, the linear probe ours
(docs/evaluation.md). The small one has another network and a training of minutes: its
figures say nothing of the study's.

The paper's tables are not at hand here. PUBLISHED is what a press article gives of
them, and what others quote goes here with its source.
"""

from configs import (
    cifar_direct,
    cifar_direct_cpu,
    imagenet_direct,
    study_cifar_losses,
)
from sslx.registry import pick
from sslx.types import Published

ARTICLE = "a press article on the study; 1,000 test images, seeds not said"
PUBLISHED = (
    Published("cifar10", "cifar10", "softnn", 9_000, 0.790, 0.769, ARTICLE),
    Published(
        *("imagenet2012", "fashion_mnist", "infonce", 200_000, 0.919, 0.905, ARTICLE),
    ),
)
# Those that the study compares.
LOSSES = ("softnn", "mse", "infonce", "wasserstein")


def get_config(size: str = "full"):
    """``size`` is full, cpu or imagenet."""
    configs = {
        "full": cifar_direct.get_config,
        "cpu": cifar_direct_cpu.get_config,
        "imagenet": imagenet_direct.get_config,
    }
    c = pick(configs, size, "size")()
    c.study.name = f"study_icml2022-{size}"
    c.study.published = PUBLISHED
    c.probe.reference = True
    c.probe.skip_missing = True
    if size == "imagenet":
        return c
    c.data.held_out = 0.0
    c.data.split_seed = None
    c.steal.pool = "test"
    seeds = tuple(f"steal.seed={seed}" for seed in study_cifar_losses.SEEDS)
    c.study.grid = (study_cifar_losses.thefts(size, LOSSES), seeds)
    return c
