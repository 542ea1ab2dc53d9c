"""A black box small enough to look into."""

import numpy as np

from sslx.service import DEFENCES, read_all_counters, read_answers, serve

PLAIN = DEFENCES["none"]()

SHAPE, DIM = (2, 3, 1), 4
WEIGHTS = np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32)


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), np.uint8)


def embedded(images):
    return images.reshape(len(images), -1).astype(np.float32) @ WEIGHTS


def opened(path, embed=embedded, limit=None, defence=PLAIN, **kw):
    kw = {"image_shape": SHAPE, "dim": DIM} | kw
    return serve(path, embed, image_limit=limit, defence=defence, **kw)


KEYS = {"a": "alpha-0123456789", "b": "beta-0123456789"}
# Services that store their answers, or look at their accounts, in another way.
SERVICES = [{}, {"repeats": "fresh", "accounts": KEYS}]


def written(path, **kw):
    """A file of two accounts, and everything that can be read from it."""
    service = opened(path, limit=40, **kw)
    for i in range(4):
        service.query("a", pictures(6, seed=i), str(i), api_key=KEYS["a"])
    service.query("b", pictures(3, seed=9), "0", api_key=KEYS["b"])
    service.close()
    return everything(path)


def everything(path):
    asked = np.concatenate([pictures(6, seed=i) for i in range(4)])
    a = read_answers(path, "a", [str(i) for i in range(4)], asked)
    b = read_answers(path, "b", ["0"], pictures(3, seed=9))
    return a.tobytes() + b.tobytes(), read_all_counters(path)
