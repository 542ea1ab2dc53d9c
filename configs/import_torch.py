"""An encoder of PyTorch weights as the victim: nothing of it is trained here.

Command: python launch.py --config=configs/import_torch.py --config.victim.weights=FILE
Time: not measured; the import itself takes seconds, the rest is cifar_direct.py's but
for the victim's training
Expected: not measured; it depends on the weights

The sets are those of cifar_direct.py; "--config.probe.datasets=('cifar10',)" takes one,
--config.probe.skip_missing=True those that are there.

FILE is npz, safetensors or what torch.save wrote, whatever its name, and FILE#teacher
one network of several in it (docs/pytorch.md). Say what it holds in victim.encoder and
the stem and width of victim.encoder_kw, and in data.mean and data.std the normalisation
that it was trained with, which no file of weights tells. Here they are those of a
ResNet-18 for CIFAR-10.

What the victim was trained on is not known. victim.dataset says only where the shape of
its images and the attacker's images come from: steal.pool=held_out is, as for a victim
trained here, the share data.held_out of that set's training images, so that budgets
and figures compare, but the victim may have seen them. steal.pool=cifar10 takes all
training images, steal.pool=test those of the test split but for steal.test_kept.
"""

from configs import cifar_direct


def get_config():
    """The study's attack on weights of the user's."""
    c = cifar_direct.get_config()
    c.victim.weights = "FILE"
    c.victim.encoder = c.steal.encoder = "resnet18"
    c.data.mean = (0.4914, 0.4822, 0.4465)
    c.data.std = (0.2470, 0.2435, 0.2616)
    return c
