"""Six defences of the shipped CIFAR-10 victim, the thief who knows each, honest users.

Command: python launch.py --config=configs/cifar_defences_cpu.py
Time: not measured; two cores
Expected: the table of docs/defences.md

The set, once (170 MB): sslx prepare cifar10

Of the 10,000 images that the victim never saw 1,000 are the provider's to measure
answers on. The attacker sends 7,500, whatever he does with them. Passes, network and
rate are those of cifar_reference.py; strengths are the middle ones of
digits_defences.py but for what hangs on the width or on how many ask.
"""

from configs import cifar_reference, default, digits_defences

DEFENCES = {
    "noise": "sd=1.0",
    "round": "step=2.0",
    "top_k": "k=16",
    "near_duplicates": "similarity=0.9",
    "b4b": "transform=diagonal",
    "coverage_ratio": "noise=3.0",
}
# The one thief of digits_defences.KNOWS that is tried: all would take hours.
KNOWS = {name: digits_defences.KNOWS[name][-1] for name in DEFENCES}


def get_config():
    """Without a defence first; of each defence the naive thief and one who knows it."""
    c = cifar_reference.get_config()
    changes = [""]
    for name, number in DEFENCES.items():
        own = f"service.defence={name} service.defence_kw.{name}.{number}"
        changes += [own, f"{own} {default.thefts(KNOWS[name])[0]}"]
    c.study.name = "cifar_defences_cpu"
    c.study.grid = (tuple(changes),)
    c.steal.queries = 7_500
    c.service.calibration.images = 1_000
    c.service.honest.users = 3
    c.service.honest.sizes = (100, 1_000)
    return c
