"""Access to the projection head on CIFAR-10: the service sells what comes after it.

Command: python launch.py --config=configs/cifar_access_head.py
Time: not measured
Expected: not measured

The answers have 128 numbers instead of 512; the stealer has a head of the same form,
which is thrown away before the probe.
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.service.output = "projection"
    c.steal.attack = "access_head"
    c.steal.loss = "infonce"
    c.steal.optim.learning_rate = 3e-4
    changes = (
        "",
        "loss=mse batch_size=64 optim.learning_rate=1e-3",
        "loss=softnn optim.learning_rate=1e-3",
    )
    c.study.grid = (default.thefts(*changes),)
    return c
