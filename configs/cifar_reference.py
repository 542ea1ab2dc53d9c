"""A victim worth stealing, which comes with sslx, copied on real CIFAR-10.

Command: python launch.py --config=configs/cifar_reference.py
Time: 9 minutes 24 s on two cores, twice that beside other work
Expected: victim 68.1 % [67.2, 69.0], stolen 64.3, alone 40.7 (linear probe, 10,000 test
images)

The set, once (170 MB): sslx prepare cifar10

The victim is a ResNet-18 of width 16, trained by SimCLR on 40,000 images for 60 epochs;
sslx.victims()["simclr_cifar10"] says all of it. The attacker asks 9,000 of the others.
What stands beside, without an answer, has the same images and as many passes. All
thefts of this victim: study_reference.py.
"""

from configs import default

VICTIM = "simclr_cifar10"


def get_config():
    """One theft, and the same network trained on the same images without an answer."""
    c = default.get_config()
    c.victim.source = f"shipped:{VICTIM}"
    c.victim.dataset = "cifar10"
    c.steal.encoder = "resnet18"
    c.steal.encoder_kw.resnet18.width = 16
    c.steal.queries = 9000
    c.steal.loss = "mse"
    c.steal.attack_kw.direct.train_on = "image"
    # Chosen on answers, and images, that were held back: docs/choosing.md.
    c.steal.augment = "mild"
    c.steal.optim.learning_rate = 1.6e-2
    c.steal.ssl.augment = "simclr_cifar"
    c.steal.ssl.objective_kw.simclr.temperature = 0.2
    c.steal.ssl.optim.learning_rate = 1e-3
    for part in (c.steal, c.steal.ssl):
        part.optim.name = "adamw"
        part.optim.warmup_steps = 100
        part.batch_size = 128
        part.passes = 64_000
    c.steal.alone = ("asked",)
    c.probe.datasets = ("cifar10",)
    c.probe.few_labels = (0.01,)
    c.engine.save_every = 200
    return c
