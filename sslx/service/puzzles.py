"""Puzzles that a client pays with: hashes, many to find one, a single one to check.

A puzzle's difficulty is in bits: 2^bits tries are expected. Its solution, a nonce, is
bound to the account, the images asked, in their order, and the time it expires.
"""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from sslx.service.database import digest
from sslx.types import UserError


class Puzzle(NamedTuple):
    """What is to be solved.

    Attributes:
        account: Who pays.
        request: Of what is asked; see ``request_of``.
        expiry: Seconds since 1970.
        bits: 0 or more, and no whole number needed.
    """

    account: str
    request: bytes
    expiry: int
    bits: float


class Proof(NamedTuple):
    """What a client sends of a puzzle that it has solved.

    Attributes:
        expiry: The puzzle's.
        nonce: 0 .. 2^64 - 1.
    """

    expiry: int
    nonce: int


class PaymentRequired(UserError):
    """A call is to be paid for with hashes; nothing was computed or counted.

    Attributes:
        puzzle: Solve it, and send the call again with the proof.
        why: What is wrong with the proof that was sent; "" where there was none.
    """

    def __init__(self, puzzle: Puzzle, why: str = ""):
        super().__init__(puzzle, why)  # as they are, for pickling
        self.puzzle, self.why = puzzle, why

    def __str__(self) -> str:
        why = f"{self.why}; " if self.why else ""
        return (
            f"{why}account {self.puzzle.account!r} is to prove 2^{self.puzzle.bits:.1f}"
            " hashes first: send the call again with proof=solve(this error's puzzle);"
            " nothing was counted"
        )


def request_of(hashes: Sequence[bytes]) -> bytes:
    """What a puzzle is bound to of the images, by their hashes in the order sent."""
    return digest(*hashes)


def solve(puzzle: Puzzle, start: int | None = None) -> Proof:
    """Tries one nonce after the other.

    Args:
        puzzle: What to solve.
        start: The nonce tried first; by default a random one, so that the same call
            paid for twice in a second has two nonces.
    """
    nonce = secrets.randbits(63) if start is None else start
    stamp, most = _stamp(puzzle), _most(puzzle.bits)
    while _tried(stamp, nonce) >= most:
        nonce += 1
    return Proof(puzzle.expiry, nonce)


def solved(puzzle: Puzzle, nonce: int) -> bool:
    """Whether a nonce solves it, by one hash."""
    if not 0 <= nonce < 2**64:
        return False
    return _tried(_stamp(puzzle), nonce) < _most(puzzle.bits)


def name_of(puzzle: Puzzle, nonce: int) -> bytes:
    """What a nonce that was used is known by: 32 bytes, whatever the price was."""
    return sha256(_stamp(puzzle) + nonce.to_bytes(8, "little")).digest()


def _stamp(puzzle: Puzzle) -> bytes:
    expiry = str(puzzle.expiry).encode()
    return digest(puzzle.account.encode(), puzzle.request, expiry)


def _tried(stamp: bytes, nonce: int) -> int:
    return int.from_bytes(sha256(stamp + nonce.to_bytes(8, "little")).digest())


def _most(bits: float) -> float:
    return 2.0 ** (256 - bits)
