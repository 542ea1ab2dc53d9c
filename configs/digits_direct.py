"""Handwritten digits at random places: a theft that pays, on two cores.

Command: python launch.py --config=configs/digits_direct.py
Time: 2 minutes on two cores
Expected: (linear probe on 1 % of the labels, one digit a class; seed 0) victim 53.8 %,
stolen with 450, 90, 30 queries 53.8, 48.7, 51.2; alone on the same images 40.4, 40.3,
44.6, five times as long 53.3; untrained 21.6; five seeds: docs/measurements.md

The victim has seen 1,200 of the 1,350 training digits, three images each; the attacker
has the other 150 digits, 450 images. Whatever trains beside the theft, `alone`, has the
same images and as many passes through the network, and once five times as many.
"""

from configs import default

PASSES = 25_600  # of every theft, and of what stands beside it


def get_config():
    """The embedded default: no download, no accelerator."""
    c = default.get_config()
    c.data.held_out = 1 / 9
    c.victim.dataset = "digits"
    c.victim.encoder = c.steal.encoder = "conv3"
    c.victim.batch_size = 128
    c.victim.passes = 256_000
    # Chosen on answers, and images, that were held back: docs/choosing.md.
    c.steal.attack, c.steal.loss = "stolen_encoder", "own"
    c.steal.attack_kw.stolen_encoder.weight = 1.0
    c.steal.augment = "mild"
    for part, rate in ((c.victim, 2e-3), (c.steal, 4e-3), (c.steal.ssl, 2e-3)):
        part.optim.name = "adamw"
        part.optim.learning_rate = rate
    for part in (c.victim, c.steal.ssl):
        part.augment = "mild"
        part.objective_kw.simclr.temperature = 0.2
    for part in (c.steal, c.steal.ssl):
        part.batch_size = 32
        part.passes = PASSES
    c.steal.queries = 450
    c.study.grid = (default.thefts("", "queries=90", "queries=30"),)
    c.steal.alone = ("asked", "asked:5")  # asked is all of the pool here
    c.probe.datasets = ("digits",)
    c.probe.few_labels = (0.01, 0.1)
    c.probe.primary = "linear_0.01"
    c.engine.save_every = 200
    c.engine.cpu_devices = 4  # images this small are slower over 8
    return c
