"""MoCo v2+ on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_moco_cifar.py
Time: not measured
Published: solo-learn 92.94 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18).
lightly's kNN of its MoCo, another recipe: 83.8 after 200 epochs of batch 128, 89.9
after 800 of batch 512 (k=200, best epoch on the test images).
Expected: not measured

What all share: victim_simclr_cifar.py.
"""

from configs import victim_simclr_cifar


def get_config():
    """MoCo's numbers; those of head, queue and average are the default's."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "moco"
    c.victim.augment = "moco_cifar"
    c.victim.optim.name = "sgd"
    c.victim.optim.learning_rate = 0.3
    c.victim.optim.weight_decay = 1e-4
    return c
