"""SimSiam on CIFAR-10 by solo-learn's recipe: trained and probed, not stolen.

Command: python launch.py --config=configs/victim_simsiam_cifar.py
Time: not measured
Published: solo-learn 90.51 % (its Acc@1 after 1,000 epochs, batch 256, ResNet-18).
lightly's kNN, another recipe: 81.9 after 200 epochs of batch 128, 90.4 after 800 of
batch 512 (k=200, best epoch on the test images).
Expected: not measured

What all share: victim_simclr_cifar.py. Otherwise than solo-learn: the predictor's rate
follows the cosine, where theirs stays constant.
"""

from configs import victim_simclr_cifar


def get_config():
    """SimSiam's numbers; the head's are the default's."""
    c = victim_simclr_cifar.get_config()
    c.victim.objective = "simsiam"
    c.victim.augment = "simsiam_cifar"
    c.victim.optim.name = "sgd"
    c.victim.optim.learning_rate = 0.5
    c.victim.optim.weight_decay = 1e-5
    return c
