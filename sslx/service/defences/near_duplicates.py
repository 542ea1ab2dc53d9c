"""Another image's answer for who asks what he has nearly asked before.

Source: the perturbation defence of Dziedzic et al. 2022, made to see more than a batch
and to answer what nobody can tell from an answer.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.numbers import where
from sslx.service.defences.project import each_by_itself, normal_by
from sslx.types import refuse_if

# As many trees, planes of each, and rows that a place in one has room for.
TREES, DEPTH, ROOM = 8, 59, 16
Words = list[int]  # a tree each: the sides of its planes, the first the highest bit
Find = Callable[[int], list[np.ndarray]]


def near_duplicates(*, similarity: float) -> Defence:
    """Replaces the answer to an image that is near one the account has asked.

    Nearness is the cosine of two answers, each number less the calibration's mean and
    in its deviations. It is estimated by the sides of 472 random planes, which follow
    from the account's key, on which the two lie: with a deviation of about 2.5 degrees
    at a cosine of 0.95. The replacement is an answer to a calibration image, picked by
    the image's key: it looks like any other. What was replaced is remembered, too.

    The past is found through rows of 8 trees. A tree's bucket has room for 16; what
    finds it full goes to the half below in which it lies, by the next plane. An image
    looks on its way down, so it is beside all others while there are few, and beside
    some 16 times the logarithm of them when there are many. The price is that a pair
    is overlooked where all 8 trees part it: with angle t, and at depth k, by a chance
    of (1 - (1 - t/pi)^k)^8. Of answers that are alike in all 59 planes of a tree no
    more than 944 are kept there; of a past of such the way is as long as there are,
    up to that. Where repeats are fresh a repeat is a near duplicate.

    It breaks "order": of two near images the one that comes later is replaced.

    Args:
        similarity: Cosine above which answers are replaced, between 0 and 1.

    Raises:
        UserError: It lies elsewhere: nothing, or half of all, would be replaced.
    """
    refuse_if(
        not 0 < similarity < 1,
        f"{where('near_duplicates', 'similarity')} must lie between 0 and 1, not "
        f"{similarity}: from 1 on nothing is replaced, at 0 what has nothing in common",
    )

    def init(dim: int, key: np.ndarray | None) -> State:
        assert key is not None
        return {"key": key}

    def apply(state: State, request: Request):
        assert request.keys is not None and request.calibration is not None
        measured, answers = request.calibration.answers, request.raw.copy()
        signs = _signs(state["key"], request)
        find, rows = _remembered(request), []
        nearest = np.full(len(signs), -1.0)
        for i, words in enumerate(signs):
            found, places = _way_down(words.tolist(), find)
            if found:
                nearest[i] = _cosines(words, np.stack(found)[:, 1:]).max()
            for place in places:
                row = np.array([place, *words])
                find(place).append(row)
                rows.append(row)
        replaced = nearest > similarity
        for at in np.flatnonzero(replaced):
            random = np.random.default_rng(request.keys[at])
            answers[at] = measured[random.integers(len(measured))]
        notes = {"similarity": nearest, "replaced": replaced.astype(float)}
        return answers, state, np.stack(rows) if rows else None, notes

    return Defence(
        init, apply, wants={"secret", "calibration"}, exempt=frozenset({"order"})
    )


def _signs(key: np.ndarray, request: Request) -> Int64[np.ndarray, "n trees"]:
    """On which sides of the planes answers lie, a number of DEPTH bits a tree."""
    assert request.calibration is not None
    _, mean, deviation = request.calibration
    z = (request.raw - mean.astype(np.float64)) / np.where(deviation, deviation, np.inf)
    planes = normal_by(key.tobytes(), z.shape[1], TREES * DEPTH)
    sides = (each_by_itself(z, planes) > 0).reshape(len(z), TREES, DEPTH)
    return sides @ (1 << np.arange(DEPTH)[::-1])


def _remembered(request: Request) -> Find:
    """Bucket -> its rows, those that this call appends among them."""
    known: dict[int, list[np.ndarray]] = {}

    def find(bucket: int) -> list[np.ndarray]:
        if bucket not in known:
            known[bucket] = request.past([bucket])
        return known[bucket]

    return find


def _way_down(words: Words, find: Find) -> tuple[list[np.ndarray], list[int]]:
    """The rows on the way down each tree, and where there is room for another."""
    found, places = [], []
    for tree, word in enumerate(words):
        for depth in range(DEPTH + 1):
            # A leading 1 tells 0 from 00; below 2^63 with the deepest place.
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
    """Of angles: two vectors lie on either side of a share angle/pi of the planes."""
    apart = np.bitwise_count(words ^ others).sum(axis=1)
    return np.cos(np.pi * apart / (TREES * DEPTH))
