"""A stealer that first learns by itself, on CIFAR-10, and what that alone is worth.

Command: python launch.py --config=configs/cifar_warm_start.py
Time: not measured
Expected: not measured

The attacker owns the 10,000 images of his pool, so he can train on them without asking
(SimCLR, as the victim). The headline starts from there; ssl_only is the same network
before its first query, what every theft has to beat; direct starts from nothing.
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.steal.attack = "warm_start"
    c.steal.ssl.epochs = 200
    changes = (
        "",
        "attack=ssl_only loss=own",
        "attack=direct",
        "queries=1000",
        "attack=direct queries=1000",
    )
    c.study.grid = (default.thefts(*changes),)
    c.study.passes = "as given"  # epochs of what is asked, and of the pool
    return c
