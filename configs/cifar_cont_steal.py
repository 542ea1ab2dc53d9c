"""Cont-Steal (Sha et al., CVPR 2023) on CIFAR-10, as its paper and as its code have it.

Command: python launch.py --config=configs/cifar_cont_steal.py
Time: not measured
Expected: not measured

One augmented view of each of 9,000 images is asked once. In the paper's form the
stealer sees another view of the image, in the released code's the very view that was
asked. That code asks new views in each of 100 epochs, on CIFAR-10 five million queries
in all (docs/queries.md). Its batch is 32, its optimiser Adam at 3e-4.
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.steal.attack = "cont_steal"
    c.steal.loss = "own"
    c.steal.ask_augment = "simclr_cifar"
    c.steal.augment = "simclr_cifar"
    c.steal.batch_size = 32
    c.steal.optim.learning_rate = 3e-4
    released = (
        "augment=none attack_kw.cont_steal.form=released "
        "attack_kw.cont_steal.temperature=0.5"
    )
    c.study.grid = (default.thefts("", released),)
    return c
