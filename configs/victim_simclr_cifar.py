"""SimCLR on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_simclr_cifar.py
Time: not measured
Published: solo-learn 90.74 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18;
online or offline classifier not stated).
lightly's kNN, another recipe: 84.7 after 200 epochs of batch 128, 87.9 after 800 of
batch 512 (k=200, best epoch on the test images).
Expected: not measured

The set, once (170 MB): sslx prepare cifar10

All victim_*_cifar.py share what stands here: ResNet-18 with a 3x3 stem, 1,000 epochs of
256 images, ten of them warm-up, no image held out, probes on the whole test split.
Otherwise than solo-learn: float32 instead of mixed precision
(--config.precision=bfloat16 comes near), LARC's and SGD's cosine ends at zero.
Shorter: --config.victim.epochs=200. To steal from such a victim, give the attacker test
images: --config.stages="('victim','steal','probe','report')" --config.steal.pool=test
"""

from configs import default

EPOCH = 50_000 // 256  # steps


def get_config():
    """What the methods share, and SimCLR's numbers."""
    c = default.get_config()
    c.stages = ("victim", "probe", "report")
    c.data.held_out = 0.0
    c.data.mean = (0.4914, 0.4822, 0.4465)
    c.data.std = (0.2470, 0.2435, 0.2616)
    c.victim.dataset = "cifar10"
    c.victim.encoder = "resnet18"
    c.victim.epochs = 1000
    c.victim.batch_size = 256
    c.victim.objective = "simclr"
    c.victim.augment = "simclr_cifar"
    c.victim.objective_kw.simclr.temperature = 0.2
    c.victim.objective_kw.simclr.hidden = 2048
    c.victim.objective_kw.simclr.projection = 256
    c.victim.optim.name = "larc"
    c.victim.optim.learning_rate = 0.4
    c.victim.optim.learning_rate_per_256 = True
    c.victim.optim.weight_decay = 1e-4
    c.victim.optim.warmup_steps = 10 * EPOCH
    c.probe.datasets = ("cifar10",)
    c.probe.l2_grid = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    return c
