"""Direct extraction of a victim trained on SVHN, with SVHN and with CIFAR-10 images.

Command: python launch.py --config=configs/svhn_direct.py
Time: not measured
Expected: not measured

The sets, once: sslx prepare svhn_cropped cifar10

The study's code asks SVHN's test images; here the pool are training images that the
victim never saw, and test images are for tests. The last theft asks CIFAR-10's training
images, which have nothing of the victim's.
"""

from configs import cifar_direct, default


def get_config():
    """Recipe and numbers are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.victim.dataset = "svhn_cropped"
    c.study.grid = ((*c.study.grid[0], *default.thefts("pool=cifar10")),)
    c.probe.datasets = ("svhn_cropped", "cifar10")
    return c
