"""Users who mean no harm: what they send of a labelled set, in which order.

A kind of user is ``(random, shop, n) -> Sent``: n of the images of a ``Shop``. They are
what the user trains a classifier of his own on, and what he has it classify: of each
class half and half, but for an odd one. He has no more classes than ``EACH`` images of
each make, and of several domains as many images of each.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer

from sslx.types import refuse_if

FRAMES = 5  # near duplicates in a row, of a camera that hardly moves
TRIES = 2  # of a client that sends each image again
EACH = 10  # images of a class, about, that a user has at least


class Shop(NamedTuple):
    """What users choose from.

    Attributes:
        labels: int (m,), no two domains have a class in common.
        groups: int (m,); rows of one group show the same thing and are on one side.
        domains: int (m,), from 0 on; who has but one has the first.
    """

    labels: Integer[np.ndarray, " m"]
    groups: Integer[np.ndarray, " m"]
    domains: Integer[np.ndarray, " m"]

    def only(self, rows: np.ndarray) -> "Shop":
        """Some of its rows."""
        return Shop(*(part[rows] for part in self))


class Sent(NamedTuple):
    """What an honest user sends, in order.

    Attributes:
        rows: int (n,) of the set.
        views: int (n,), 0 for the image as it is, above it for a near duplicate; the
            same row and view is the same image.
        trains: bool (n,), what he trains on; the rest he asks for its class.
    """

    rows: Int64[np.ndarray, " n"]
    views: Int64[np.ndarray, " n"]
    trains: Bool[np.ndarray, " n"]


def _drawn(
    random: np.random.Generator, shop: Shop, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """N rows in the order of a draw, and which of them are trained on.

    Of each class every second group, so that a class is on both sides if it can be.
    """
    refuse_if(
        not 0 < n <= len(shop.labels),
        f"an honest user sends {n} images, and his set has {len(shop.labels)}",
    )
    parts, left = [], n
    domains, sizes = np.unique(shop.domains, return_counts=True)
    order = np.argsort(sizes, kind="stable")  # what a small one lacks others give
    for at, d in enumerate(order):
        share = min(-(-left // (len(order) - at)), sizes[d])
        inside = np.flatnonzero(shop.domains == domains[d])
        kinds = shop.labels[inside]
        own = _some(random.permutation(np.unique(kinds)), kinds, share // EACH, share)
        parts.append(random.permutation(inside[own])[:share])
        left -= share
    rows = random.permutation(np.concatenate(parts))
    trains = np.zeros(n, bool)
    for c in np.unique(shop.labels[rows]):
        own = np.flatnonzero(shop.labels[rows] == c)
        seen = list(dict.fromkeys(shop.groups[rows[own]].tolist()))
        trains[own] = np.isin(shop.groups[rows[own]], seen[::2])
    return rows, trains


def _some(order: np.ndarray, kinds: np.ndarray, most: int, n: int) -> np.ndarray:
    """Rows of the first ``most`` kinds, 2 at least, of more if these have not n."""
    sizes = np.array([np.sum(kinds == kind) for kind in order])
    enough = np.searchsorted(np.cumsum(sizes), n) + 1
    return np.flatnonzero(np.isin(kinds, order[: max(2, most, enough)]))


def _domain(random: np.random.Generator, shop: Shop, n: int) -> Sent:
    """Images of one domain; where there is but one, of half of its classes."""
    domains, classes = np.unique(shop.domains), np.unique(shop.labels)
    if len(domains) > 1:
        sizes = np.array([np.sum(shop.domains == d) for d in domains])
        enough = np.searchsorted(np.cumsum(sizes), n) + 1
        own = np.flatnonzero(np.isin(shop.domains, domains[:enough]))
    else:
        own = _some(random.permutation(classes), shop.labels, len(classes) // 2, n)
    rows, trains = _drawn(random, shop.only(own), n)
    return Sent(own[rows], np.zeros(n, np.int64), trains)


def _domains(random: np.random.Generator, shop: Shop, n: int) -> Sent:
    """Images of all domains."""
    rows, trains = _drawn(random, shop, n)
    return Sent(rows, np.zeros(n, np.int64), trains)


def _video(random: np.random.Generator, shop: Shop, n: int) -> Sent:
    """Few scenes, several frames of each in a row that hardly differ."""
    scenes = -(-n // FRAMES)
    rows, trains = _drawn(random, shop, scenes)
    views = np.tile(np.arange(FRAMES), scenes)[:n]
    return Sent(np.repeat(rows, FRAMES)[:n], views, np.repeat(trains, FRAMES)[:n])


def _retries(random: np.random.Generator, shop: Shop, n: int) -> Sent:
    """Each image sent again some time later, by a client that lost the answer."""
    rows, trains = _drawn(random, shop, -(-n // TRIES))
    order = np.argsort(random.random(len(rows) * TRIES))[:n] % len(rows)
    return Sent(rows[order], np.zeros(n, np.int64), trains[order])


def _sorted(random: np.random.Generator, shop: Shop, n: int) -> Sent:
    """Images of all domains, class by class, as they lie in folders."""
    sent = _domains(random, shop, n)
    order = np.argsort(shop.labels[sent.rows], kind="stable")
    return Sent(*(part[order] for part in sent))


USERS: dict[str, Callable[..., Sent]] = {
    "domain": _domain,
    "domains": _domains,
    "video": _video,
    "retries": _retries,
    "sorted": _sorted,
}
