"""The study's experiment on real CIFAR-10, sized for two cores.

Command: python launch.py --config=configs/cifar_direct_cpu.py
Time: 38 minutes on two cores that had other work besides (36 minutes of CPU time); half
of it trains the victim.
Expected: (linear probe, per cent of 10,000 test images, seed 0) victim 54.6 [53.6,
55.6]; untrained 45.3 [44.3, 46.3]; pixels 41.4 [40.5, 42.4]; stolen with 9,000 queries
by SoftNN 51.7, by mse 54.0, by InfoNCE 54.2 in a version whose stealers started from
the victim's own first weights; not measured since.

The set, once (170 MB): sslx prepare cifar10

Queries, losses and pool are those of cifar_direct.py; network and training are what
about half an hour allows: three convolutions instead of a ResNet-34, 10 epochs instead
of 200 for the victim and 11 instead of 100 for each stealer. The figures say nothing of
the study's.
"""

from configs import cifar_direct, default


def get_config():
    """The headline is SoftNN, as in the study; mse and InfoNCE stand beside it."""
    c = cifar_direct.get_config()
    c.victim.encoder = c.steal.encoder = "conv3"
    for part in (c.victim, c.steal.ssl):
        part.objective_kw.simclr.temperature = 0.2
    for part in (c.victim, c.steal, c.steal.ssl):
        part.optim.name = "adamw"
        part.optim.learning_rate = 2e-3
        part.batch_size = 256
    c.victim.optim.warmup_steps = 50
    c.victim.steps = 1500
    c.steal.passes = 102_400
    c.study.grid = (default.thefts("", "loss=mse", "loss=infonce"),)
    c.probe.datasets = ("cifar10",)
    c.probe.l2_grid = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    c.engine.save_every = 100
    return c
