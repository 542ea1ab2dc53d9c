"""A supervised encoder on CIFAR-10, to compare the other victims with.

Command: python launch.py --config=configs/victim_supervised_cifar.py
Time: not measured
Published: none with this recipe, which is our own; solo-learn's SupCon, which learns
from labels too, has 93.82 % (Acc@1 after 1,000 epochs, ResNet-18).
Expected: not measured

What all share: victim_simclr_cifar.py; but 200 epochs. No image is held out, so the
watch's kNN is on images that were trained on and says little of this method.
"""

from configs import victim_simclr_cifar


def get_config():
    """SGD at the usual numbers of supervised training on CIFAR-10."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "supervised"
    c.victim.augment = "supervised"
    c.victim.epochs = 200
    c.victim.optim.name = "sgd"
    c.victim.optim.learning_rate = 0.1
    c.victim.optim.weight_decay = 5e-4
    return c
