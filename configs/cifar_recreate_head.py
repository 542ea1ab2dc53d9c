"""Recreating the projection head on CIFAR-10: the study's second attack.

Command: python launch.py --config=configs/cifar_recreate_head.py
Time: not measured
Expected: not measured

Two views of each of 4,500 images are asked once: 9,000 queries. A head learns from the
answers what the victim's own may have been, by InfoNCE between the two views, and the
stealer is then compared with the answers through it. The study's code asks new views in
each of 300 epochs, 2.7 million queries in all (docs/queries.md).
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.steal.attack = "recreate_head"
    c.steal.loss = "infonce"
    c.steal.optim.learning_rate = 3e-4
    c.steal.ask_views = 2
    c.steal.ask_augment = "simclr"
    c.study.grid = (default.thefts("", "loss=mse", "loss=softnn"),)
    return c
