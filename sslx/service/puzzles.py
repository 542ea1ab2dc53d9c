"""Puzzles that a client pays with: hashes, many to find one, a single one to check.

What a call costs is proven before it is answered, and a proof counts once. A puzzle's
difficulty is in bits: 2^bits tries are expected. Its solution, a nonce, is bound to the
service, by a random id that its file was given, the account, the images asked, in their
order, and the time it expires.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from sslx.service.database import check_row, damaged, digest, transaction
from sslx.service.ledger import Ledger
from sslx.types import UserError

LIFE = 3600  # seconds that a puzzle is good for
CLOCK: Callable[[], float] = time.time

# Nonces that were used, and the service's id.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS nonces (nonce BLOB PRIMARY KEY, expiry BLOB,"
    " digest BLOB) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS expiries ON nonces (expiry)",
    "CREATE TABLE IF NOT EXISTS service (id BLOB, digest BLOB)",
)


class Puzzle(NamedTuple):
    """What is to be solved.

    Attributes:
        service: Whom: its id.
        account: Who pays.
        request: Of what is asked; see ``request_of``.
        expiry: Seconds since 1970.
        bits: 0 or more, and no whole number needed.
    """

    service: bytes
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


def prepare(ledger: Ledger) -> None:
    """Gives a file what puzzles need; one of an earlier version gets it once."""
    with transaction(ledger.db, ledger.path, "IMMEDIATE"):
        for statement in _TABLES:
            ledger.db.execute(statement)
        if not ledger.db.execute("SELECT 1 FROM service").fetchone():
            own = secrets.token_bytes(16)
            row = own, digest(own)
            ledger.db.execute("INSERT INTO service VALUES (?, ?)", row)


def _service(ledger: Ledger) -> bytes:
    row = ledger.db.execute("SELECT id, digest FROM service").fetchone()
    if row is None:
        raise damaged(ledger.path, "the service's id is gone")
    check_row(ledger.path, "the service's id", *row)
    return row[0]


def take(
    ledger: Ledger, account: str, hashes: list[bytes], proof: Proof | None, bits: float
) -> None:
    """Takes a payment, within the transaction of the answers.

    Args:
        ledger: Where used nonces are kept until they expire.
        account: Who pays.
        hashes: Of the images of the call, in the order sent.
        proof: What was sent.
        bits: What is to be paid now: the price of a moment before may be too low.

    Raises:
        PaymentRequired: There is no proof, or it is expired, used, of another call,
            account or service, or of fewer hashes. It has a new puzzle.
    """
    now, request = int(CLOCK()), request_of(hashes)
    fresh = Puzzle(_service(ledger), account, request, now + LIFE, bits)
    if proof is None:
        raise PaymentRequired(fresh)
    if not _is_proof(proof):
        raise UserError(f"a proof is made by sslx.service.solve, not {proof!r}")
    if not now < proof.expiry <= now + LIFE:
        raise PaymentRequired(fresh, "the proof is expired, or of a clock that is off")
    paid = fresh._replace(expiry=proof.expiry)
    if not solved(paid, proof.nonce):
        raise PaymentRequired(
            fresh, "the proof is of another call or service, or of fewer hashes"
        )
    name = name_of(paid, proof.nonce)
    query = "SELECT expiry, digest FROM nonces WHERE nonce = ?"
    if row := ledger.db.execute(query, (name,)).fetchone():
        check_row(ledger.path, "a used nonce", name, *row)
        raise PaymentRequired(fresh, "the proof was used before")
    # Big-endian, so that sqlite's order of blobs is that of time.
    ledger.db.execute("DELETE FROM nonces WHERE expiry <= ?", (now.to_bytes(8),))
    kept = name, proof.expiry.to_bytes(8)
    ledger.db.execute("INSERT INTO nonces VALUES (?, ?, ?)", (*kept, digest(*kept)))


def _is_proof(proof: object) -> bool:
    return isinstance(proof, Proof) and all(type(x) is int for x in proof)


def _stamp(puzzle: Puzzle) -> bytes:
    expiry = str(puzzle.expiry).encode()
    account = puzzle.account.encode()
    return digest(puzzle.service, account, puzzle.request, expiry)


def _tried(stamp: bytes, nonce: int) -> int:
    return int.from_bytes(sha256(stamp + nonce.to_bytes(8, "little")).digest())


def _most(bits: float) -> float:
    return 2.0 ** (256 - bits)
