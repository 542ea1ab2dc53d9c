"""Six defences of the shipped CIFAR-10 victim, the thief who knows each, honest users.

Command: python launch.py --config=configs/cifar_defences_cpu.py
Time: not measured; two cores
Expected: the table of docs/defences.md

The sets, once: sslx prepare cifar10 cifar100 fashion_mnist svhn_cropped
With honest users of 10,000 images, too: --config=configs/cifar_defences_cpu.py:large

Of the 10,000 images that the victim never saw 1,000 are the provider's to measure
answers on. The attacker sends 7,500, whatever he does with them. An honest user's
domain is one of four sets. Passes, network and rate are those of cifar_reference.py,
strengths the middle ones of digits_defences.py but for what hangs on the width or on
how many ask, and near_duplicates, whose middle costs most users dearly.
"""

from configs import cifar_reference, default, digits_defences
from sslx.registry import pick

DEFENCES = {
    "noise": "sd=1.0",
    "round": "step=2.0",
    "top_k": "k=16",
    "near_duplicates": "similarity=0.9",
    "b4b": "transform=diagonal",
    "coverage_ratio": "noise=3.0",
}
# The one thief that is tried, the best of digits_defences.py's at its seed 0: all would
# take hours.
PREDICTIONS = digits_defences.ALL[0]
KNOWS = {
    "noise": PREDICTIONS,
    "round": PREDICTIONS,
    "top_k": f"{digits_defences.VIEWS} clean=('union',)",
    "near_duplicates": digits_defences.ACCOUNTS,
    "b4b": "clean=('standardise',)",
    "coverage_ratio": digits_defences.ACCOUNTS,
}


def get_config(part: str = "small"):
    """Without a defence first; of each defence the naive thief and one who knows it.

    ``part`` is small or large, of which the latter has larger honest users.
    """
    c = cifar_reference.get_config()
    changes = [""]
    for name, number in DEFENCES.items():
        own = f"service.defence={name} service.defence_kw.{name}.{number}"
        changes += [own, f"{own} {default.thefts(KNOWS[name])[0]}"]
    c.study.name = f"cifar_defences_cpu-{part}"
    c.study.grid = (tuple(changes),)
    c.steal.queries = 7_500
    c.service.calibration.images = 1_000
    c.service.honest.users = 4  # one of each domain
    sizes = {"small": (100, 1_000), "large": (100, 1_000, 10_000)}
    c.service.honest.sizes = pick(sizes, part, "part")
    c.service.honest.beside = ("cifar100", "fashion_mnist", "svhn_cropped")
    c.data.size = 32  # Fashion-MNIST has 28 pixels of grey
    c.data.channels = 3
    return c
