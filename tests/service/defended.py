"""A service that has all that a defence may want, and a stranger's defence for it."""

from functools import cache

import jax
import numpy as np

from sslx.service import Defence, Request, calibrate
from tests.service.box import DIM, opened, pictures

POOL = pictures(12)
SECRET = bytes(range(32))
# Small whole numbers: a product is the same in whatever batch it is made.
WHOLE = np.random.default_rng(1).integers(-3, 4, (6, DIM)).astype(np.float32)


# Of each entry of the table that has numbers, those it is tried with.
NUMBERS: dict[str, dict] = {
    "noise": {"sd": 0.5},
    "round": {"step": 0.5},
    "top_k": {"k": 2},
    "truncate": {"width": 3},
    "project": {"width": 2},
    "near_duplicates": {"similarity": 0.5},
    "b4b": {
        "bits": 4,
        "draws": 3,
        "centred": True,
        "start": 0.01,
        "noise": 1.0,
        "knee": 50.0,
        "transform": "none",
    },
    "coverage_ratio": {
        "bits": 4,
        "draws": 3,
        "domain": 0.3,
        "allowed": 1.0,
        "noise": 1.0,
        "start": 2.0,
    },
    "saliency": {"blur": 0.3},
    # Most accounts are above this line: the price is not always the floor.
    "proof_of_work": {
        "sd": 0.5,
        "quantile": 0.01,
        "floor": 3.0,
        "doubling": 0.01,
        "most": 40.0,
        "call_size": 6,
    },
}
# Who break the law of order in float32 only after thousands of images; a test of their
# own shows that they do.
LATE = {"b4b_reference", "b4b_reference_simsiam"}


def embedded(images, c=1):
    return c * (images.reshape(len(images), -1).astype(np.float32) @ WHOLE)


@cache
def _slope(score):
    return jax.jit(jax.grad(score))


def gradient(score, images, c=1):
    answers = embedded(images, c)
    found = [c * WHOLE @ np.asarray(_slope(score)(answer)) for answer in answers]
    return np.reshape(found, images.shape)


def ready(path, defence, c=1, embed=embedded, **kw):
    """A service that has all that a defence may want."""
    measured = calibrate(embedded(pictures(50, seed=5), c))
    kw = {"secret": SECRET, "calibration": measured} | kw
    kw = {"gradient": lambda score, x: gradient(score, x, c)} | kw
    return opened(path, lambda x: c * embed(x), defence=defence, **kw)


def _apply(state, request):
    """Noise by how many answers of its bucket the account has; a number is padded."""
    mean, deviation = request.calibration.mean, request.calibration.deviation
    buckets = (request.raw > mean) @ (1 << np.arange(len(mean)))
    given, here = state["given"], {}
    answers, rows, near = [], [], []
    for raw, key, bucket in zip(request.raw, request.keys, buckets, strict=True):
        if bucket not in here:
            here[bucket] = len(request.past([bucket]))
        draw = np.random.default_rng(key).normal(size=len(raw))
        answers.append([*(raw + here[bucket] * deviation * draw), deviation.mean()])
        rows.append((bucket, given + len(rows)))
        near.append(here[bucket])
        here[bucket] += 1
    state = {"given": given + len(rows)}
    return np.array(answers), state, np.array(rows), {"near": np.array(near)}


TOY = Defence(
    init=lambda dim, key: {"given": np.zeros((), np.int64)},
    apply=_apply,
    out_dim=lambda dim: dim + 1,
    before=lambda state, images: 255 - images,
    demand=lambda state, n: 4 + np.log2(n),
    wants={"secret", "calibration"},
    exempt={"order"},
)


def request_of(raw, seed=0, measured=None):
    """A request for answers of one's own, with keys that follow from the seed."""
    random = np.random.default_rng(seed)
    return Request(
        np.zeros((len(raw), 1, 1, 1), np.uint8),
        [bytes(32)] * len(raw),
        raw.astype(np.float32),
        random.integers(0, 2**32, (len(raw), 8), np.uint32),
        calibrate(raw if measured is None else measured),
        lambda buckets: [],
    )


def key_of(seed):
    return np.random.default_rng([7, seed]).integers(0, 2**32, 8, np.uint32)
