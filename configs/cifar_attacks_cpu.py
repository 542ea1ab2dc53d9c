"""Seven thefts of one small victim on real CIFAR-10, at three budgets, on two cores.

Command: python launch.py --config=configs/cifar_attacks_cpu.py
Time: 27 minutes on two cores beside other work, the victim being there; 5 more with it
Expected: victim 52.0, untrained 45.3 (linear probe, per cent of 10,000 test images,
seed 0); thefts not measured at equal passes

The set, once (170 MB): sslx prepare cifar10

The victim is that of victim_cpu.py:simclr. Each theft sends 1,000, 3,000 and 9,000
images; RDA's are ten views each of a tenth as many. Every stealer has the victim's
network and 51,200 views that go through it, whatever the attack makes of them, half of
warm_start's before it sees an answer; the losses' numbers are the study's and the
papers'. ssl_only is what the attacker has without a query.
"""

from configs import default, victim_cpu

PASSES = 51_200
# A theft, but for its budget, which counts every view.
THEFTS = (
    "loss=mse",
    "loss=infonce",
    "loss=softnn",
    # Image and one view of it.
    "attack=stolen_encoder loss=own augment=stolen_encoder batch_size=128",
    "attack=cont_steal loss=own ask_augment=simclr_cifar augment=simclr_cifar",
    # Five views of an image in a step.
    "attack=rda loss=own ask_views=10 ask_augment=rda_prototype augment=rda "
    "batch_size=48",
    f"attack=warm_start loss=mse passes={PASSES // 2} ssl.passes={PASSES // 2}",
)
BUDGETS = (9000, 3000, 1000)


def get_config():
    """The headline is mse with 9,000 queries."""
    c = victim_cpu.get_config("simclr")
    c.stages = ("victim", "steal", "probe", "report")
    c.steal.encoder = "conv3"
    c.steal.queries = 9000
    c.steal.batch_size = 256
    c.steal.passes = PASSES
    for part in (c.steal, c.steal.ssl):
        part.optim.update({"name": "adamw", "learning_rate": 2e-3})
    c.steal.ssl.augment = c.victim.augment
    c.steal.ssl.objective_kw.simclr.temperature = 0.2
    c.steal.ssl.batch_size = 256
    c.steal.ssl.passes = PASSES
    changes = [f"{theft} queries={n}" for theft in THEFTS for n in BUDGETS]
    c.study.grid = (default.thefts(*changes, "attack=ssl_only loss=own"),)
    return c
