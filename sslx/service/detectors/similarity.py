"""Similarity: near duplicates inside an account, or shared by accounts.

Zhang et al. 2021, "SEAT: Similarity encoder by adversarial training", counts similar
pairs inside an account; between accounts they link who shares a pool of images.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from sslx.service.detectors.detector import (
    Detector,
    Known,
    Scores,
    Stream,
    centre_of,
    directions,
)
from sslx.types import refuse_if

BLOCK = 256  # queries that are compared with others at once
EQUAL = 1 - 1e-10  # the cosine of equal rows, and rounding
SAME = 1 - 1e-6  # what is near enough to be shared, whatever honest accounts share
ROUNDING = 1e-9  # below the pair that sets the cosine, so that it counts itself


def similarity(
    *,
    pairs: int = 50,
    tail: float = 0.25,
    across: bool = False,
    most: int = 20_000,
) -> Detector:
    """How many near duplicates there are: pairs of directions of a high cosine.

    Which cosine is high is learned: honest streams have ``tail * (pairs + 1)`` such
    pairs on average, inside them or with all other accounts.

    Inside an account the score is the number of pairs so far. A row that
    equals an earlier one has none: an image sent again is a client that tries again,
    and tells a thief nothing new. A stream of n queries takes n^2 d / 2
    multiplications, and memory for n times 256 cosines.

    Across accounts it is how many queries resemble an earlier one of another account,
    in deviations from what honest accounts share in as many comparisons:
    (count - expected) / sqrt(expected + 1), of the account where that is highest. Who
    asked first is not seen by it. A query is compared with the ``most`` queries before
    it, of all accounts, which takes most * d multiplications.

    Args:
        pairs: Similar pairs that the published form allows.
        tail: Share of them that honest streams have.
        across: Whether accounts are compared with one another.
        most: Queries back to which accounts are compared.

    Raises:
        UserError: A number is out of its range; learning, that there are too few pairs
            of honest queries, or no two honest accounts to compare.
    """
    refuse_if(pairs < 1, f"similarity.pairs must be 1 or more, not {pairs}")
    refuse_if(not 0 < tail <= 1, f"similarity.tail must be in 0..1, not {tail:g}")
    refuse_if(most < 1, f"similarity.most must be 1 or more, not {most}")
    wanted = tail * (pairs + 1)
    if across:
        return Detector(
            lambda streams: _learn_across(streams, wanted, most),
            lambda known, streams: _score_across(known, streams, most),
            across=True,
        )
    return Detector(lambda streams: _learn_inside(streams, wanted), _score_inside)


def _learn_inside(streams: Sequence[Stream], wanted: float) -> Known:
    centre = centre_of(streams)
    sizes = [len(s.times) * (len(s.times) - 1) // 2 for s in streams]
    # Of a stream of the greatest length; shorter ones have fewer.
    top = _Top(wanted * sum(sizes) / max(*sizes, 1), sum(sizes))
    for stream in streams:
        for _, cosines, pairs in _earlier(directions(stream.features, centre)):
            top.add(cosines[pairs])
    return {"centre": centre, "cosine": top.least()}


def _score_inside(known: Known, streams: Sequence[Stream]) -> list[Scores]:
    out = []
    for stream in streams:
        similar = np.zeros(len(stream.times))
        rows = directions(stream.features, known["centre"])
        for start, cosines, pairs in _earlier(rows):
            near = pairs & (cosines >= known["cosine"])
            similar[start : start + len(near)] = near.sum(axis=1)
        out.append(Scores(np.arange(1, len(similar) + 1), np.cumsum(similar)))
    return out


def _earlier(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(first row, cosines of a block with all rows up to its last, pairs that count).

    Those of a row with each before it; a row that equals an earlier one has none.
    """
    new = np.ones(len(rows), bool)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        cosines = rows[block] @ rows[: start + BLOCK].T
        earlier = np.tril(np.ones(cosines.shape, bool), start - 1)
        new[block] = ~(earlier & (cosines >= EQUAL)).any(axis=1)
        yield start, cosines, earlier & new[block, None] & new[: start + BLOCK]


class _Top:
    """The highest cosines of pairs, so many of them, as blocks come."""

    def __init__(self, count: float, total: int):
        self.count = max(round(count), 1)
        refuse_if(
            self.count >= total,
            f"too few honest queries: {total:,} pairs, and similarity takes "
            f"{self.count:,} of them for similar",
        )
        self.values = np.empty(0)

    def add(self, values: np.ndarray) -> None:
        joined = np.concatenate([self.values, values])
        if len(joined) > self.count:
            joined = np.partition(joined, -self.count)[-self.count :]
        self.values = joined

    def least(self) -> np.ndarray:
        refuse_if(not len(self.values), "honest queries are all alike")
        return np.array(self.values.min() - ROUNDING)


class _Table(NamedTuple):
    """The queries of all streams in the order of time, as it is written where equal.

    Attributes:
        rows: Their directions.
        accounts: Whose each is, by number.
        places: Of each stream's queries.
    """

    rows: Float64[np.ndarray, "n d"]
    accounts: Int64[np.ndarray, " n"]
    places: list[Int64[np.ndarray, " m"]]


def _table(streams: Sequence[Stream], centre: np.ndarray) -> _Table:
    names = sorted({s.account for s in streams})
    sizes = [len(s.times) for s in streams]
    order = np.argsort(np.concatenate([s.times for s in streams]), kind="stable")
    rows = np.concatenate([directions(s.features, centre) for s in streams])
    accounts = np.repeat([names.index(s.account) for s in streams], sizes)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    places = np.split(place, np.cumsum(sizes)[:-1])
    return _Table(rows[order], accounts[order].astype(np.int64), places)


def _compared(table: _Table, most: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(first row of a block, first row compared with it, cosines).

    -1 where a pair is not compared: of one account, too far back, or not earlier.
    """
    n = len(table.rows)
    for start in range(0, n, BLOCK):
        block = slice(start, min(start + BLOCK, n))
        first = max(0, start - most)
        past = slice(first, block.stop)
        back = np.arange(start, block.stop)[:, None] - np.arange(first, block.stop)
        other = table.accounts[block, None] != table.accounts[past]
        cosines = table.rows[block] @ table.rows[past].T
        yield start, first, np.where(other & (back > 0) & (back <= most), cosines, -1)


def _links(table: _Table, cosine: float, most: int) -> Int64[np.ndarray, "k 2"]:
    """(row, account) where a row resembles an earlier one of another account."""
    found = [np.empty((0, 2), np.int64)]
    for start, first, cosines in _compared(table, most):
        row, past = np.nonzero(cosines >= cosine)
        link = np.stack([row + start, table.accounts[past + first]], axis=1)
        found.append(np.unique(link, axis=0))
    return np.concatenate(found)


def _before(places: np.ndarray, others: np.ndarray, most: int) -> np.ndarray:
    """How many of others, in rising order, lie up to ``most`` before each place."""
    low, high = np.searchsorted(others, places - most), np.searchsorted(others, places)
    return high - low


def _learn_across(streams: Sequence[Stream], wanted: float, most: int) -> Known:
    table = _table(streams, centre := centre_of(streams))
    sizes = np.bincount(table.accounts)
    refuse_if(
        len(sizes) < 2,
        "too few honest accounts: to compare them with one another two are needed to "
        "learn from, beside those that set the threshold",
    )
    every = np.arange(len(table.rows))
    own = sum(
        _before(mine := np.flatnonzero(table.accounts == i), mine, most).sum()
        for i in range(len(sizes))
    )
    compared = int(_before(every, every, most).sum() - own)
    top = _Top(wanted * len(sizes), compared)
    for _, _, cosines in _compared(table, most):
        top.add(cosines[cosines > -1])
    cosine = np.minimum(top.least(), SAME)
    shared = len(_links(table, float(cosine), most)) / compared
    return {"centre": centre, "cosine": cosine, "shared": np.array(shared)}


def _score_across(known: Known, streams: Sequence[Stream], most: int) -> list[Scores]:
    if not streams:
        return []
    table = _table(streams, known["centre"])
    links = _links(table, float(known["cosine"]), most)
    out = []
    for places in table.places:
        own = links[np.isin(links[:, 0], places)]
        values = np.zeros(len(places))
        for whose in np.unique(own[:, 1]):
            theirs = np.flatnonzero(table.accounts == whose)
            found = np.isin(places, own[own[:, 1] == whose, 0])
            expected = np.cumsum(_before(places, theirs, most)) * known["shared"]
            more = (np.cumsum(found) - expected) / np.sqrt(expected + 1)
            values = np.maximum(values, more)
        out.append(Scores(np.arange(1, len(places) + 1), values))
    return out
