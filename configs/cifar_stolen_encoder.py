"""StolenEncoder (Liu et al., CCS 2022) on CIFAR-10.

Command: python launch.py --config=configs/cifar_stolen_encoder.py
Time: not measured
Expected: not measured

Each image is asked once, as it is; the stealer answers the image and an augmented view
of it as the victim answered the image. The paper asks 5 % of the victim's training
images (here 2,500), and so does the headline. Its code sums the loss over a batch of 64
where this one takes the mean, so the learning rate is 64 times its 1e-3. Queries come
from CIFAR-10 instead of ImageNet, which is easier for the attacker.
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.steal.attack = "stolen_encoder"
    c.steal.loss = "own"
    c.steal.queries = 2500
    c.steal.augment = "stolen_encoder"
    c.steal.batch_size = 64
    c.steal.optim.name = "sgd"
    c.steal.optim.learning_rate = 0.064
    c.steal.optim.weight_decay = 5e-4
    c.study.grid = (default.thefts("", "queries=9000"),)
    c.study.passes = "as given"  # 100 epochs of what is asked
    return c
