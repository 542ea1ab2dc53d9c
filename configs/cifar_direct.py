"""The study's setting on CIFAR-10: SimCLR ResNet-34, copied with 9,000 queries.

Command: python launch.py --config=configs/cifar_direct.py
Time: not measured
Expected: not measured; the study's press article gives 79.0 % for the victim and
76.9 % for the copy, on 1,000 test images.

The sets, once (4.5 GB of downloads, svhn_cropped and stl10 the most of it; those that
are not there can be left out with --config.probe.skip_missing=True):
sslx prepare cifar10 cifar100 fashion_mnist svhn_cropped stl10

The attacker's pool are 10,000 training images that the victim never saw, and figures
are on whole test splits. The study's own division, where the victim trains on all
50,000 and the attacker asks the first 9,000 test images, the last 1,000 being kept:
--config.steal.pool=test --config.data.split_seed=None --config.data.held_out=0

What stands beside a theft, without an answer, is trained as the victim is, by the same
method and numbers, in the theft's passes. The recipe is the study's but for the
schedule: one cosine over all steps, where the released code steps a cosine of another
period.
"""

from configs import default


def get_config():
    """The headline is SoftNN; mse and InfoNCE have optimiser numbers of their own."""
    c = default.get_config()
    c.victim.dataset = "cifar10"
    c.victim.encoder = c.steal.encoder = "resnet34"
    c.victim.epochs = 200
    c.victim.batch_size = 256
    c.steal.queries = 9000
    c.steal.loss = "softnn"
    c.steal.batch_size = 256
    c.steal.optim.learning_rate = 1e-3
    changes = (
        "",
        "loss=mse batch_size=64 optim.learning_rate=1e-3",
        "loss=infonce batch_size=256 optim.learning_rate=3e-4",
    )
    c.study.grid = (default.thefts(*changes),)
    c.probe.datasets = ("cifar10", "svhn_cropped", "fashion_mnist", "cifar100", "stl10")
    c.data.size = 32  # Fashion-MNIST has 28 pixels of grey, STL-10 96 of colour
    c.data.channels = 3
    return c
