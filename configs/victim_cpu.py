"""One method of seven on real CIFAR-10, a small encoder, two cores.

Command: python launch.py --config=configs/victim_cpu.py:simsiam
All seven, with their table: python -m benchmarks.victims_cpu
Time: 2 (supervised) to 16 minutes (moco) of training on two cores beside other work;
all seven with their probes took 69 minutes of CPU time
Published: none; network and training are ours and say nothing of published figures
Expected: (linear probe, per cent of 10,000 test images, seed 0) supervised 57.3,
barlow 53.2, vicreg 53.0, simclr 52.0, byol 50.0, simsiam 48.7, moco 47.6; untrained
46.3 in its better form, pixels 41.4; intervals in docs/victims.md

The set, once (170 MB): sslx prepare cifar10
For a trial: --config.victim.steps=5 --config.victim.optim.warmup_steps=0

conv3 (93,000 parameters), 500 steps of 256 images: 128,000 of them, three times through
the 40,000 that are not held out. Views are those of each method's recipe for CIFAR-10;
heads, rates and averages are sized for so short a training, before any result was seen.
"""

from configs import default
from sslx.registry import pick

ADAMW = {"name": "adamw", "learning_rate": 2e-3, "weight_decay": 1e-4}
SGD = {"name": "sgd", "learning_rate": 0.2, "weight_decay": 1e-4}
# Method -> (augmentation preset, changes of its numbers, optimiser).
METHODS = {
    "simclr": ("simclr_cifar", {"temperature": 0.2}, ADAMW),
    "simsiam": (
        "simsiam_cifar",
        {"hidden": 512, "projection": 512, "predictor": 128},
        SGD,
    ),
    "barlow": ("barlow_cifar", {"hidden": 512, "projection": 512}, ADAMW),
    # A target that lags a few dozen steps behind: there are only 500.
    "byol": (
        "byol_cifar",
        {"hidden": 512, "projection": 128, "predictor": 512, "decay": 0.95},
        ADAMW,
    ),
    "vicreg": ("vicreg_cifar", {"hidden": 512, "projection": 512}, ADAMW),
    "moco": (
        "moco_cifar",
        {
            "hidden": 512,
            "projection": 128,
            "queue": 4096,
            "decay": 0.95,
            "final_decay": 0.99,
        },
        ADAMW,
    ),
    "supervised": ("supervised", {}, ADAMW),
}


def get_config(method: str = "simclr"):
    """The experiment of one method."""
    c = default.get_config()
    c.stages = ("victim", "probe", "report")
    augment, numbers, optim = pick(METHODS, method, "method")
    c.victim.dataset = "cifar10"
    c.victim.encoder = "conv3"
    c.victim.objective = method
    c.victim.augment = augment
    c.victim.objective_kw[method].update(numbers)
    c.victim.optim.update(optim)
    c.victim.optim.warmup_steps = 50
    c.victim.batch_size = 256
    c.victim.steps = 500
    c.victim.watch_every = 1
    c.probe.datasets = ("cifar10",)
    c.probe.l2_grid = (1e-5, 1e-4, 1e-3, 1e-2)
    c.engine.save_every = 100
    return c
