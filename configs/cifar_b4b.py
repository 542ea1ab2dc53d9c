"""B4B before the study's victim, at full size: one account, several, and few buckets.

Command: python launch.py --config=configs/cifar_b4b.py
Time: not measured; wants an accelerator
Expected: not measured

The sets, once: sslx prepare cifar10 cifar100 (of the probes' others those not at hand
are left out)

Victim and probes are those of cifar_direct.py. As in B4B's experiments (Dubinski et
al., NeurIPS 2023) the attacker asks images of another set, with InfoNCE at temperature
0.25 and SGD at 0.1 for 256 images, cosine, 100 epochs; 25,000 of them, half of the set,
so that there are images to choose from (theirs are 50,000 of ImageNet's). Accounts
beyond the first are carried over to it by a map that shared images tell, ours linear
(dense is the transform, so nothing else is needed), theirs a network. Planes go through
the calibration's mean; b4b_reference has them through 0, where the published numbers
add next to nothing (docs/defences.md).
"""

from configs import cifar_direct, default

MAPS = "anchors=1000 clean=('maps',) clean_kw.maps.kind=dense"
THIEVES = ("", "plan=narrow", f"accounts=2 {MAPS}", f"accounts=6 {MAPS}")


def get_config():
    """Without a defence first, then each thief behind it."""
    c = cifar_direct.get_config()
    behind = "service.defence=b4b"
    thieves = [default.thefts(thief)[0] for thief in THIEVES]
    c.study.name = "cifar_b4b"
    c.study.grid = (("", *(f"{behind} {thief}".strip() for thief in thieves)),)
    c.service.calibration.images = 2_000
    c.service.defence_kw.b4b.transform = "dense"
    c.service.honest.users = 3
    c.service.honest.sizes = (100, 1_000)
    c.steal.pool = "cifar100"
    c.steal.queries = 25_000
    c.steal.loss = "infonce"
    c.steal.loss_kw.infonce.temperature = 0.25
    c.steal.batch_size = 256
    c.steal.passes = 2_500_000
    c.steal.optim.name = "sgd"
    c.steal.optim.learning_rate = 0.1
    return c
