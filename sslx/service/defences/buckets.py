"""How much of the space of answers an account has seen: buckets of random planes.

An answer falls into one of 2^bits buckets by the sides of so many random planes on
which it lies; coverage is the share of buckets that the account's answers fell into, a
mean over several draws of the planes. The planes follow from a key, so that they are
kept nowhere.

Source: Dubinski et al. 2023, "Bucks for Buckets" (B4B), section 4.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8, UInt32

from sslx.service.defences.kept import kept
from sslx.types import refuse_if

PLANES, TRANSFORM = 0, 1  # what an account's key is drawn for


def check_buckets(name: str, bits: int, draws: int) -> None:
    """Raises a UserError where planes cannot be so many."""
    for key, value, low, high in (("bits", bits, 3, 16), ("draws", draws, 1, 64)):
        refuse_if(
            type(value) is not int or not low <= value <= high,
            f"service.defence_kw.{name}.{key} must be a whole number from {low} to "
            f"{high}, not {value}",
        )


def stream_of(key: UInt32[np.ndarray, " 8"], purpose: int) -> np.random.Generator:
    """A generator of an account, another one for each purpose."""
    return np.random.default_rng([*key.tolist(), purpose])


def no_buckets(bits: int, draws: int) -> UInt8[np.ndarray, "m bytes"]:
    """The bitset of an account that has seen nothing."""
    return np.zeros((draws, 2**bits // 8), np.uint8)


def buckets_of(
    rows: Float64[np.ndarray, "n d"],
    key: UInt32[np.ndarray, " 8"],
    bits: int,
    draws: int,
) -> Int64[np.ndarray, "n m"]:
    """The bucket of each row by each draw of the planes, 0 to 2^bits - 1."""
    sides = each_by_itself(rows, _planes(key.tobytes(), bits, draws, rows.shape[1])) > 0
    return sides.reshape(len(rows), draws, bits) @ (1 << np.arange(bits))


@kept
def _planes(
    key: bytes, bits: int, draws: int, dim: int
) -> Float64[np.ndarray, "d planes"]:
    random = stream_of(np.frombuffer(key, np.uint32), PLANES)
    return random.normal(size=(dim, draws * bits))


def each_by_itself(
    rows: Float64[np.ndarray, "n d"], matrix: Float64[np.ndarray, "d out"]
) -> Float64[np.ndarray, "n out"]:
    """A product whose last bits do not depend on how many rows there are."""
    return (rows[:, None] @ matrix)[:, 0]


def cover(
    occupied: UInt8[np.ndarray, "m bytes"], buckets: Int64[np.ndarray, "n m"]
) -> tuple[Float[np.ndarray, " n"], UInt8[np.ndarray, "m bytes"]]:
    """Coverage after each of n answers, in percent of all buckets, and the new bitset.

    Args:
        occupied: Buckets that were seen before, eight a byte, a row each draw.
        buckets: Those of the answers, in the order sent.
    """
    seen = np.unpackbits(occupied, axis=1)
    flat = seen.reshape(-1)
    draws, each = seen.shape
    places, first = np.unique(buckets + each * np.arange(draws), return_index=True)
    new = first[flat[places] == 0] // draws  # which answer was the first in a bucket
    count = flat.sum(dtype=np.int64) + np.cumsum(
        np.bincount(new, minlength=len(buckets))
    )
    flat[places] = 1
    return 100 * count / seen.size, np.packbits(seen, axis=1)
