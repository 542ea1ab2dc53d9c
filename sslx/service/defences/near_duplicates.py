"""Another image's answer for an image that is nearly one the account has asked."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float64, Int64

from sslx.service.defences.defence import Calibration, Defence, Request, State
from sslx.service.defences.kept import kept
from sslx.service.defences.units import normal, unit
from sslx.types import refuse_if

# The trees, the planes of each, and how many rows a place in one has room for.
TREES, DEPTH, ROOM = 8, 59, 16
NEAREST = float(np.cos(np.pi / (TREES * DEPTH)))
Find = Callable[[int], list[np.ndarray]]


def near_duplicates(*, similarity: float) -> Defence:
    """Replaces an answer whose cosine with one given before is above ``similarity``.

    Answers are compared less the calibration's mean, in its deviations, with all that
    the account was due since it is there. What is given instead is an answer of the
    calibration set, chosen by the image's key: nothing tells it from another. The past
    answer stays. The first of two near images is answered as it is, so another order
    of a call gives another answer (exempt from "order"). Where repeats are fresh, an
    image that is sent again is its own near duplicate. The note "nearest" is the cosine
    with the nearest answer found; 0, as of unrelated ones, where there was none before.

    Of an answer are kept the sides on which it lies of 8 x 59 random planes, drawn by
    the account's key, which is all of the state; the share of planes that part two
    answers is their angle over pi, and is off by 2.5 degrees (a deviation) at a cosine
    of 0.95. The past is found by 8 trees. A place in a tree has room for 16 rows; what
    finds it full goes to the half below on whose side of the next plane it lies. Who
    looks passes the places on its own way down: all of the past while it is short, and
    about 16 times the logarithm of it for each tree when it is long. Two answers at
    an angle t are not seen to be near where all trees part them above the place of the
    earlier one: if that is at depth k in each, by a chance of (1 - (1 - t/pi)^k)^8.
    A way ends at depth 59: of answers that are alike in all planes of a tree no more
    than 960 are kept in it, and up to that the time grows with their number.

    Source: the idea of Dziedzic et al. 2022, who compare within a batch; trees as of
    Bawa et al. 2005 ("LSH Forest").

    Raises:
        UserError: ``similarity`` does not lie between 0 and ``NEAREST``, the cosine of
            answers that one plane parts.
    """
    where = "service.defence_kw.near_duplicates.similarity"
    refuse_if(
        not 0 < similarity < 1,
        f"{where} must lie between 0 and 1, not {similarity}: above 1 is no cosine, "
        "below 0 are half of all",
    )
    refuse_if(
        similarity >= NEAREST,
        f"{where} must be below {NEAREST:.5f}, not {similarity}: by {TREES * DEPTH} "
        "planes nothing nearer is told from an image that is sent again",
    )

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key}

    def apply(state: State, request: Request):
        assert request.calibration is not None and request.keys is not None
        known = request.calibration
        answers, rows = request.raw.astype(np.float32).copy(), []
        sides = _sides(state["key"], request.raw, known)
        find, nearest = _remembered(request), np.zeros(len(sides))
        for i, (words, key) in enumerate(zip(sides, request.keys, strict=True)):
            before, places = _way_down(words.tolist(), find)
            if before:
                nearest[i] = _cosines(words, np.stack(before)[:, 1:]).max()
            if nearest[i] > similarity:
                pick = np.random.default_rng(key).integers(len(known.answers))
                answers[i] = known.answers[pick]
            for place in places:
                rows.append(np.array([place, *words]))
                find(place).append(rows[-1])
        return answers, state, np.stack(rows) if rows else None, {"nearest": nearest}

    wants = {"secret", "calibration"}
    return Defence(init, apply, wants=wants, exempt={"order"})


def _sides(
    key: np.ndarray, raw: Float[np.ndarray, "n d"], known: Calibration
) -> Int64[np.ndarray, "n trees"]:
    """On which sides of the planes answers lie: a tree's in a number, the first leads.

    Row by row: a product of many rows is summed in another order.
    """
    scale = np.where(known.deviation > 0, known.deviation, np.inf)
    x = (raw.astype(np.float64) - known.mean) / scale
    planes = _planes(key.tobytes(), x.shape[1])
    positive = np.stack([row @ planes > 0 for row in x])
    return positive.reshape(len(x), TREES, DEPTH) @ (1 << np.arange(DEPTH)[::-1])


@kept
def _planes(key: bytes, dim: int) -> Float64[np.ndarray, "d planes"]:
    random = np.random.default_rng(np.frombuffer(key, np.uint32))
    return random.standard_normal((dim, TREES * DEPTH))


def _remembered(request: Request) -> Find:
    """Bucket -> the rows that it has, of this call too."""
    known: dict[int, list[np.ndarray]] = {}

    def find(bucket: int) -> list[np.ndarray]:
        if bucket not in known:
            known[bucket] = request.past([bucket])
        return known[bucket]

    return find


def _way_down(words: list[int], find: Find) -> tuple[list[np.ndarray], list[int]]:
    """The rows on the way down all trees, and the places where there is room."""
    found, places = [], []
    for tree, word in enumerate(words):
        for depth in range(DEPTH + 1):
            # The leading 1 tells 0 from 00; the deepest place is below 2^63.
            place = ((1 << depth) | (word >> (DEPTH - depth))) * TREES + tree
            rows = find(place)
            found += rows
            if len(rows) < ROOM:
                places.append(place)
                break
    return found, places


def _cosines(
    words: Int64[np.ndarray, " trees"], others: Int64[np.ndarray, "n trees"]
) -> Float64[np.ndarray, " n"]:
    """Of angles that part so many of the planes."""
    parted = np.bitwise_count(words ^ others).sum(axis=1)
    return np.cos(np.pi * parted / (TREES * DEPTH))


def near_duplicates_reference() -> Defence:
    """The study's: an answer that is near an earlier one of its call is replaced.

    Near is (cosine + 1) / 2 above 0.8, of the answers as they are; what is given is
    normal with mean 1,000 and deviation 0.5, which anybody sees. Its defects are kept:
    it looks at one call alone (exempt from "cutting" and "order"), its numbers are
    absolute (exempt from "scaling"), and features that are never negative are near each
    other whatever they show. The study compares outputs of the head and replaces
    representations; here both are what the service answers with.

    Source: the code of Dziedzic et al. 2022, ``simclr.py``.
    """

    def apply(state: State, request: Request):
        assert request.keys is not None
        x = unit(request.raw)
        near = np.tril((x @ x.T + 1) / 2 > 0.8, -1).any(axis=1)
        others = 1000 + 0.5 * normal(request.keys, x.shape[1])
        answers = np.where(near[:, None], others, request.raw)
        return answers, state, None, {"near": near.astype(float)}

    return Defence(
        lambda dim, key: {},
        apply,
        wants={"secret"},
        exempt={"order", "cutting", "scaling"},
        units=False,
    )
