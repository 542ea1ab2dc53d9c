"""SimCLR on ImageNet by the numbers of its paper: a victim, trained and probed.

Command: python launch.py --config=configs/victim_simclr_imagenet.py
Time: not measured
Published: Chen et al. 2020: 69.3 % top-1 of a linear classifier (ResNet-50, 1,000
epochs, batch 4,096).
Expected: not measured; the config builds and its step traces, and no more was tried.

Today a data set must fit into the memory of each process: at 224 pixels 193 GB of
training and 8 GB of validation images (the test split here). With data_on_device each
accelerator would hold it too, so that is off. The linear probe holds 10 GB of features.
TFDS itself prepares the set, from ImageNet's files, as array_record. Otherwise than the
authors' code: no BatchNorm in the projector.
"""

from configs import default

EPOCH = 1_281_167 // 4096  # steps


def get_config():
    """ResNet-50 at 224 pixels."""
    c = default.get_config()
    c.stages = ("victim", "probe", "report")
    c.data.held_out = 0.0
    c.data.size = 224
    c.data.channels = 3
    c.victim.dataset = "imagenet2012"
    c.victim.encoder = "resnet50"
    c.victim.encoder_kw.resnet50.stem = "imagenet"
    c.victim.encoder_kw.resnet50.zero_init = True
    c.victim.objective = "simclr"
    c.victim.objective_kw.simclr.temperature = 0.1
    c.victim.augment = "simclr_imagenet"
    c.victim.epochs = 1000
    c.victim.batch_size = 4096
    c.victim.optim.name = "lars"
    c.victim.optim.learning_rate = 0.3
    c.victim.optim.learning_rate_per_256 = True
    c.victim.optim.trust_coefficient = 0.001
    c.victim.optim.weight_decay = 1e-6
    c.victim.optim.warmup_steps = 10 * EPOCH
    c.probe.datasets = ("imagenet2012",)
    c.engine.data_on_device = False
    return c
