"""Payment by puzzles: what a call costs is proven before it is answered, and once."""

import time
from collections.abc import Callable

from sslx.service.database import check_row, digest
from sslx.service.ledger import Ledger
from sslx.service.puzzles import (
    PaymentRequired,
    Proof,
    Puzzle,
    name_of,
    request_of,
    solved,
)
from sslx.types import UserError

LIFE = 3600  # seconds that a puzzle is good for
CLOCK: Callable[[], float] = time.time

_TABLE = """
CREATE TABLE IF NOT EXISTS nonces (nonce BLOB PRIMARY KEY, expiry BLOB, digest BLOB)
WITHOUT ROWID
"""


def prepare(ledger: Ledger) -> None:
    """Gives a file its table of used nonces; one of an earlier version gets it once."""
    ledger.db.execute(_TABLE)


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
        PaymentRequired: There is no proof, or it is expired, used, of another call or
            account, or of fewer hashes. It has a new puzzle.
    """
    now, request = int(CLOCK()), request_of(hashes)
    fresh = Puzzle(account, request, now + LIFE, bits)
    if proof is None:
        raise PaymentRequired(fresh)
    if not _is_proof(proof):
        raise UserError(f"a proof is made by sslx.service.solve, not {proof!r}")
    if not now < proof.expiry <= now + LIFE:
        raise PaymentRequired(fresh, "the proof is expired, or of a clock that is off")
    paid = fresh._replace(expiry=proof.expiry)
    if not solved(paid, proof.nonce):
        raise PaymentRequired(fresh, "the proof is of another call, or of fewer hashes")
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
