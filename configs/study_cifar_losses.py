"""Losses compared on CIFAR-10 at 9,000 queries, three stealers each, one victim.

Command: python launch.py --config=configs/study_cifar_losses.py
Small, on two cores: --config=configs/study_cifar_losses.py:cpu
Time: not measured; the small one about 40 minutes
Expected: not measured; the study's press article gives 79.0 % for the victim and 76.9 %
for the copy by SoftNN, on 1,000 test images

The sets, once: sslx prepare cifar10 (and those of cifar_direct.py, for
the large one). Optimiser and batch of each loss are the study's (its table of
hyperparameters); the small one has one recipe for all, that of cifar_attacks_cpu.py.
What varies is the stealer's seed: its weights, its batches and the images it asks; the
victim is one, so intervals say nothing of other victims.

The large one computes in bfloat16, with float32 statistics and losses, which the study
did not. A stealer takes the steps of 100 epochs of 9,000 queries, whatever the budget.
"""

from collections.abc import Iterable

from configs import cifar_attacks_cpu, cifar_direct
from sslx.registry import pick

# Loss -> the study's optimiser, batch size and rate.
STUDY = {
    "mse": ("adam", 64, 1e-3),
    "infonce": ("adam", 256, 3e-4),
    "softnn": ("adam", 256, 1e-3),
    "wasserstein": ("adam", 64, 1e-3),
    "barlow": ("adam", 256, 1e-3),
    "supcon": ("sgd", 256, 5e-2),
    "bce": ("adam", 64, 1e-3),
    "soft_cross_entropy": ("adam", 64, 1e-3),
}
SEEDS = (0, 1, 2)


def steps(batch: int, views: int = 1) -> int:
    """Those of the study's 100 epochs of 9,000 queries, ``views`` of an image."""
    return 100 * (9000 // views // batch)


def thefts(size: str, losses: Iterable[str] = STUDY) -> tuple[str, ...]:
    """A change for each loss: with the study's numbers, or the loss alone."""
    if size == "cpu":
        return tuple(f"steal.loss={loss}" for loss in losses)
    return tuple(
        f"steal.loss={loss} steal.optim.name={name} steal.batch_size={batch} "
        f"steal.optim.learning_rate={rate} steal.steps={steps(batch)}"
        for loss, (name, batch, rate) in ((loss, STUDY[loss]) for loss in losses)
    )


def base(size: str):
    """The experiment that is varied, full-sized or for two cores."""
    c = pick(
        {"full": cifar_direct.get_config, "cpu": cifar_attacks_cpu.get_config},
        size,
        "size",
    )()
    c.probe.independent = 1
    if size == "full":
        c.precision = "bfloat16"
        c.engine.keep_features = False  # there are hundreds of encoders
        c.engine.save_every = 5000  # each waits for the device; a stop saves, too
        c.engine.keep = 1
    return c


def get_config(size: str = "full"):
    """``size`` is full or cpu."""
    c = base(size)
    c.study.name = f"study_cifar_losses-{size}"
    c.study.grid = (thefts(size), tuple(f"steal.seed={seed}" for seed in SEEDS))
    c.probe.few_labels = (0.01, 0.1)
    c.probe.reference = True
    return c
