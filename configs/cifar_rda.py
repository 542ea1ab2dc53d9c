"""RDA: Refine, Discriminate, Align (Wu et al., ECCV 2024) on CIFAR-10.

Command: python launch.py --config=configs/cifar_rda.py
Time: not measured
Expected: not measured

Ten views of each image are asked, and their mean answer is what the stealer learns
from. The paper's 2,500 images are 25,000 queries, which is the headline; 9,000 queries,
as many as the study's, are 900 images. Queries come from CIFAR-10 instead of ImageNet.
"""

from configs import cifar_direct, default


def get_config():
    """Victim and pool are those of cifar_direct.py."""
    c = cifar_direct.get_config()
    c.steal.attack = "rda"
    c.steal.loss = "own"
    c.steal.queries = 25_000
    c.steal.ask_views = 10
    c.steal.ask_augment = "rda_prototype"
    c.steal.augment = "rda"
    c.steal.batch_size = 100
    c.steal.optim.learning_rate = 1e-3
    c.study.grid = (default.thefts("", "queries=9000"),)
    c.study.passes = "as given"  # 100 epochs of what is asked
    return c
