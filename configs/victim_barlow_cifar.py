"""Barlow Twins on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_barlow_cifar.py
Time: not measured
Published: solo-learn 92.10 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18).
lightly's kNN, another recipe: 84.2 after 200 epochs of batch 128, 85.9 after 800 of
batch 512 (k=200, best epoch on the test images).
Expected: not measured

What all share: victim_simclr_cifar.py.
"""

from configs import victim_simclr_cifar


def get_config():
    """Barlow Twins' numbers; those of loss and head are the default's."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "barlow"
    c.victim.augment = "barlow_cifar"
    c.victim.optim.learning_rate = 0.3
    return c
