"""VICReg on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_vicreg_cifar.py
Time: not measured
Published: solo-learn 92.07 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18).
Expected: not measured

What all share: victim_simclr_cifar.py.
"""

from configs import victim_simclr_cifar


def get_config():
    """VICReg's numbers; those of loss and head are the default's."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "vicreg"
    c.victim.augment = "vicreg_cifar"
    c.victim.optim.learning_rate = 0.3
    return c
