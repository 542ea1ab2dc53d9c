"""BYOL on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_byol_cifar.py
Time: not measured
Published: solo-learn 92.58 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18).
lightly's kNN, another recipe: 86.9 after 200 epochs of batch 128, 91.0 after 800 of
batch 512 (k=200, best epoch on the test images).
Expected: not measured

What all share: victim_simclr_cifar.py.
"""

from configs import victim_simclr_cifar


def get_config():
    """BYOL's numbers; those of head and average are the default's."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "byol"
    c.victim.augment = "byol_cifar"
    c.victim.optim.learning_rate = 1.0
    c.victim.optim.weight_decay = 1e-5
    return c
