"""The study's setting on CIFAR-10: SimCLR ResNet-34, copied with 9,000 queries.

Command: python launch.py --config=configs/cifar_direct.py
Time: not measured
Expected: not measured; the study's press article gives 79.0 % for the victim and
76.9 % for the copy, on 1,000 test images.

The recipe is the study's but for the schedule: one cosine over all steps, where the
released code steps a cosine of another period.
"""

from configs import default


def get_config():
    """Reads CIFAR-10 from a prepared TFDS set."""
    c = default.get_config()
    c.victim.dataset = "cifar10"
    c.steal.loss = "softnn"
    c.steal.optim.learning_rate = 1e-3
    c.steal.also = (
        "loss=mse batch_size=64",
        "loss=infonce optim.learning_rate=3e-4",
    )
    c.probe.datasets = ("cifar10",)
    return c
