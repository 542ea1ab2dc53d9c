"""Streams of people who do not exist."""

import numpy as np

from sslx.service.detectors import Stream

DIM = 8
CLASSES = 3 * np.random.default_rng(7).normal(size=(20, DIM))


def features(seed, n, classes=range(20), spread=1.0):
    """Of n images of some classes."""
    rng = np.random.default_rng(seed)
    rows = CLASSES[rng.choice(list(classes), n)] + spread * rng.normal(size=(n, DIM))
    return rows.astype(np.float32)


def stream(account, rows, start=0.0):
    return Stream(account, start + np.arange(len(rows), dtype=np.float64), rows)


def honest(n, size, first=0, **kw):
    return [
        stream(f"h{i:02}", features(i, size, **kw), start=i / 100)
        for i in range(first, first + n)
    ]
