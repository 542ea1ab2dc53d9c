"""Copying a ResNet-50 of PyTorch weights with 200,000 ImageNet queries.

Command: python launch.py --config=configs/imagenet_direct.py \
    --config.victim.weights=FILE
Time: not measured
Expected: not measured; the study's press article gives 91.9 % on Fashion-MNIST for a
SimSiam victim and 90.5 % for its copy by InfoNCE with 200,000 queries

FILE is a ResNet-50 in torchvision's layout (docs/pytorch.md), for instance the SimSiam
checkpoint of 100 epochs at batch 256 that the study attacked. The attacker's images are
a sixth of ImageNet's training images (213,528), which the victim has probably seen, as
in the study. A data set must fit into the memory of each process: at 224 pixels
ImageNet takes 193 GB, of which 30 GB are asked.

The stealer's numbers are those of the study's script: SGD with LARC, 100 epochs, a rate
of 1.0 for 256 images, temperature 0.1; its input here is the image that was asked,
where the script adds a crop in every epoch and asks anew each time.
"""

from configs import cifar_direct


def get_config():
    """The study's largest theft."""
    c = cifar_direct.get_config()
    c.data.size = 224
    c.data.mean = (0.485, 0.456, 0.406)
    c.data.std = (0.229, 0.224, 0.225)
    c.data.held_out = 1 / 6
    c.victim.weights = "FILE"
    c.victim.dataset = "imagenet2012"
    for part in (c.victim, c.steal):
        part.encoder = "resnet50"
        part.encoder_kw.resnet50.stem = "imagenet"
    c.steal.queries = 200_000
    c.steal.loss = "infonce"
    c.steal.loss_kw.infonce.temperature = 0.1
    c.steal.optim.name = "larc"
    c.steal.optim.learning_rate = 1.0
    c.steal.optim.learning_rate_per_256 = True
    c.steal.optim.trust_coefficient = 0.001
    c.steal.optim.weight_decay = 0.0
    # Beside it, without an answer: the victim's method by the numbers of its paper
    # (Chen and He 2021, 4.1), in as many passes.
    c.steal.ssl.objective = "simsiam"
    c.steal.ssl.augment = "simsiam_imagenet"
    c.steal.ssl.optim.name = "sgd"
    c.steal.ssl.optim.learning_rate = 0.05
    c.steal.ssl.optim.learning_rate_per_256 = True
    c.steal.ssl.optim.weight_decay = 1e-4
    c.study.grid = ()
    c.probe.datasets = ("fashion_mnist", "cifar10")
    c.engine.data_on_device = False
    return c
