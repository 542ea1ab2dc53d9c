"""Another image's answer for an image that is nearly one the account has asked."""

from functools import lru_cache

import numpy as np

from sslx.registry import traits
from sslx.service.defences.defence import Calibration, Defence, Request, State
from sslx.types import refuse_if

TABLES, BITS = 4, 12  # of the hash that finds what may be near
KEPT = 32  # answers of a bucket, the account's first: time does not grow with the past


@traits(at_most_1=("similarity",))
def near_duplicates(*, similarity: float) -> Defence:
    """Replaces an answer whose cosine with one given before is above ``similarity``.

    Answers are compared less the calibration's mean, in its deviations, with those that
    the account was due since it is there: four tables of 4,096 buckets (signs of random
    projections by the account's key) find what may be near, and of each bucket the
    first 32 are kept, so an answer takes no longer however much was asked; one in a
    bucket that is full and in no other is not found. What is given instead is an answer
    of the calibration set, chosen by the image's key: nothing tells it from another.
    The past answer stays. The first of two near images is answered as it is, so another
    order of a call gives another answer (exempt from "order").

    Source: the idea of Dziedzic et al. 2022, who compare within a batch.
    """
    refuse_if(
        similarity == 1,
        "service.defence_kw.near_duplicates.similarity is 1, which no cosine is above",
    )

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key}

    def apply(state: State, request: Request):
        assert request.calibration is not None and request.keys is not None
        known, dim = request.calibration, request.raw.shape[1]
        planes = _planes(state["key"].tobytes(), dim)
        units = _units(request.raw, known)
        answers, rows, near = request.raw.astype(np.float32).copy(), [], []
        here: dict[int, list[np.ndarray]] = {}
        for i, (x, key) in enumerate(zip(units, request.keys, strict=True)):
            buckets = _buckets(x, planes)
            for bucket in buckets:
                if bucket not in here:
                    found = request.past([bucket])
                    here[bucket] = [_unpacked(row, dim) for row in found]
            before = [y for bucket in buckets for y in here[bucket]]
            close = max((float(x @ y) for y in before), default=-1.0)
            if close > similarity:
                pick = np.random.default_rng(key).integers(len(known.answers))
                answers[i] = known.answers[pick]
            for bucket in buckets:
                if len(here[bucket]) < KEPT:
                    here[bucket].append(x)
                    rows.append(_packed(bucket, x))
            near.append(close)
        packed = np.stack(rows) if rows else None
        return answers, state, packed, {"nearest": np.array(near)}

    wants = {"secret", "calibration"}
    return Defence(init, apply, wants=wants, exempt={"order"})


def _units(raw: np.ndarray, known: Calibration) -> np.ndarray:
    """Answers as they are compared: float32 (n, d) of length 1."""
    scale = np.where(known.deviation > 0, known.deviation, np.inf)
    x = (raw.astype(np.float64) - known.mean) / scale
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.maximum(length, 1e-12)).astype(np.float32)


@lru_cache(maxsize=64)
def _planes(key: bytes, dim: int) -> np.ndarray:
    random = np.random.default_rng(np.frombuffer(key, np.uint32))
    return random.standard_normal((TABLES, BITS, dim))


def _buckets(x: np.ndarray, planes: np.ndarray) -> list[int]:
    """The bucket of each table, numbered through all tables."""
    signs = np.stack([table @ x.astype(np.float64) for table in planes]) > 0
    codes = signs @ (1 << np.arange(BITS))
    return [int(code) + (i << BITS) for i, code in enumerate(codes)]


def _packed(bucket: int, x: np.ndarray) -> np.ndarray:
    """A row of the ledger: the bucket and the answer's float32 numbers, two in each."""
    even = np.pad(x, (0, len(x) % 2))
    return np.concatenate([[np.int64(bucket)], even.view(np.int64)])


def _unpacked(row: np.ndarray, dim: int) -> np.ndarray:
    return row[1:].view(np.float32)[:dim]


def near_duplicates_reference() -> Defence:
    """The study's: both of two images of a call whose answers are near are replaced.

    Near is (cosine + 1) / 2 above 0.8, of the answers as they are; what is given is
    normal with mean 1,000 and deviation 0.5, which anybody sees. Its defects are kept:
    it looks at one call alone (exempt from "cutting"), and its numbers are absolute
    (exempt from "scaling").

    Source: the code of Dziedzic et al. 2022.
    """

    def apply(state: State, request: Request):
        assert request.keys is not None
        x = request.raw.astype(np.float64)
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        near = (x @ x.T + 1) / 2 > 0.8
        np.fill_diagonal(near, False)
        answers = request.raw.astype(np.float64)
        for i in np.flatnonzero(near.any(axis=1)):
            random = np.random.default_rng(request.keys[i])
            answers[i] = 1000 + 0.5 * random.standard_normal(x.shape[1])
        return answers, state, None, {"near": near.any(axis=1).astype(float)}

    return Defence(
        lambda dim, key: {},
        apply,
        wants={"secret"},
        exempt={"cutting", "scaling"},
        units=False,
    )
