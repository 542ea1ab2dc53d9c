"""Puzzles: what they cost, and that nothing is answered before they are paid."""

import pickle
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from sslx.service import (
    Defence,
    PaymentRequired,
    Proof,
    Puzzle,
    puzzles,
    read_notes,
    solve,
)
from sslx.service.puzzles import name_of, request_of, solved
from sslx.types import UserError
from tests.service.box import DIM, opened, pictures, written
from tests.service.defended import POOL, embedded

BITS = 12.0
PRICED = Defence(
    init=lambda dim, key: {},
    apply=lambda state, request: (request.raw, state, None, {}),
    demand=lambda state, n: BITS,
)


@pytest.fixture
def paid(tmp_path):
    """A service that asks 2^12 hashes a call, and the batches its victim was given."""
    given, services = [], []

    def embed(images):
        given.append(len(images))
        return embedded(images)

    def make(defence=PRICED, **kw):
        kw = {"puzzles": True} | kw
        services.append(opened(tmp_path / "a", embed, defence=defence, **kw))
        return services[-1]

    yield make, given
    for service in services:
        service.close()


def asks(service, account, images, call=None, **kw):
    with pytest.raises(PaymentRequired) as error:
        service.query(account, images, call, **kw)
    assert "\n" not in str(error.value) and "nothing was counted" in str(error.value)
    return error.value


@pytest.mark.parametrize("bits", [3.0, 6.5, 8.0])
def test_a_puzzle_takes_2_to_the_bits_tries(bits):
    # A difficulty in digits or bytes, whole bits only, the same nonce for all.
    posed = [Puzzle(b"s", "a", bytes([i]), 5, bits) for i in range(200)]
    tries = np.array([solve(puzzle, 0).nonce + 1 for puzzle in posed])
    mean, deviation = 2**bits, np.sqrt(1 - 2**-bits) * 2**bits
    assert abs(tries.mean() - mean) < 4 * deviation / np.sqrt(200)
    assert abs(tries.std() - deviation) < 0.4 * deviation  # geometric: no fixed work
    for puzzle, n in zip(posed[:20], tries, strict=False):
        found = [i for i in range(n) if solved(puzzle, i)]
        assert found == [n - 1]


@pytest.mark.slow
def test_a_puzzle_of_12_bits():
    # As above, at the greatest difficulty that is tried here.
    tries = [
        solve(Puzzle(b"s", "b", bytes([i]), 7, 12.0), 0).nonce + 1 for i in range(200)
    ]
    assert abs(np.mean(tries) - 2**12) < 4 * 2**12 / np.sqrt(200)


def test_a_nonce_is_bound_to_service_account_request_and_expiry():
    # A proof that pays for another service, account or call, or at another time.
    puzzle = Puzzle(b"s", "a", request_of([b"1", b"2"]), 100, BITS)
    nonce = solve(puzzle).nonce
    assert solved(puzzle, nonce) and solved(puzzle._replace(bits=3.0), nonce)
    for other in (
        puzzle._replace(account="b"),
        puzzle._replace(service=b"t"),
        puzzle._replace(expiry=101),
        puzzle._replace(request=request_of([b"2", b"1"])),
        puzzle._replace(request=request_of([b"12"])),
        puzzle._replace(bits=60.0),
    ):
        assert not solved(other, nonce)
    assert not solved(puzzle, -1) and not solved(puzzle, 2**64)
    # Known again whatever it was sold for.
    assert name_of(puzzle, nonce) == name_of(puzzle._replace(bits=1.0), nonce)
    assert solve(puzzle) != solve(puzzle)  # one paid twice has two nonces


def test_nothing_is_computed_before_payment(paid):
    # A victim that works first and asks then, or a call counted that was not paid.
    make, given = paid
    service = make()
    puzzle = asks(service, "a", POOL[:3], "1").puzzle
    assert not given and service.counters("a").images == 0
    assert service.accounts() == []
    proof = solve(puzzle)
    answers = service.query("a", POOL[:3], "1", proof=proof)
    assert given == [3] and service.counters("a").images == 3
    np.testing.assert_array_equal(answers, embedded(POOL[:3]))
    # What was answered costs nothing: the call again, and its images in another one.
    service.query("a", POOL[:3], "1")
    service.query("a", POOL[[2, 0]], "2")
    assert given == [3]
    asks(service, "a", POOL[3:4])


def test_a_nonce_counts_once(paid):
    # A proof that pays for the same images twice, or again after a restart.
    make, given = paid
    service = make(repeats="fresh")
    proof = solve(asks(service, "a", POOL[:2]).puzzle)
    service.query("a", POOL[:2], proof=proof)
    assert "used before" in str(asks(service, "a", POOL[:2], proof=proof))
    service.close()
    service = make(repeats="fresh")
    again = asks(service, "a", POOL[:2], proof=proof)
    assert given == [2] and "used before" in again.why
    service.query("a", POOL[:2], proof=solve(again.puzzle))
    assert given == [2, 2]


def test_a_proof_is_not_used_up_by_a_call_that_fails(paid):
    # Who is killed pays twice.
    make, given = paid
    dead = [True]

    def apply(state, request):
        if dead.pop() if dead else False:
            raise KeyboardInterrupt
        return request.raw, state, None, {}

    service = make(PRICED._replace(apply=apply))
    proof = solve(asks(service, "a", POOL[:2]).puzzle)
    with pytest.raises(KeyboardInterrupt):
        service.query("a", POOL[:2], proof=proof)
    service.query("a", POOL[:2], proof=proof)
    assert given == [2, 2]


def test_expired_and_foreign_proofs_are_refused(paid, monkeypatch):
    # A proof made for later, of another account or of other images.
    make, given = paid
    service = make()
    now = 1_000_000
    monkeypatch.setattr(puzzles, "CLOCK", lambda: now)
    puzzle = asks(service, "a", POOL[:2]).puzzle
    assert puzzle.expiry == now + puzzles.LIFE
    proof = solve(puzzle)
    for why, account, images, sent in (
        ("another call", "b", POOL[:2], proof),
        ("another call", "a", POOL[1::-1], proof),
        ("another call", "a", POOL[:3], proof),
        ("another call", "a", POOL[:2], proof._replace(nonce=2**70)),
        ("clock", "a", POOL[:2], solve(puzzle._replace(expiry=puzzle.expiry + 1))),
        ("expired", "a", POOL[:2], solve(puzzle._replace(expiry=now))),
    ):
        assert why in asks(service, account, images, proof=sent).why
    now += puzzles.LIFE - 1
    monkeypatch.setattr(puzzles, "CLOCK", lambda: now + 1)
    assert "expired" in asks(service, "a", POOL[:2], proof=proof).why
    assert not given
    monkeypatch.setattr(puzzles, "CLOCK", lambda: now)
    service.query("a", POOL[:2], proof=proof)
    for wrong in (Proof(now, 0.5), Proof("x", 1), Proof(None, 1)):
        with pytest.raises(UserError, match="a proof is made by"):
            service.query("a", POOL[3:5], proof=wrong)


def test_used_nonces_are_kept_until_they_expire(paid, tmp_path, monkeypatch):
    # A table that grows for ever, or forgets what can still be sent.
    make, _ = paid
    service = make()
    for i, now in enumerate((1000, 1001, 1002 + puzzles.LIFE)):
        monkeypatch.setattr(puzzles, "CLOCK", lambda now=now: now)
        proof = solve(asks(service, "a", POOL[[i]]).puzzle)
        service.query("a", POOL[[i]], proof=proof)
        with closing(sqlite3.connect(tmp_path / "a")) as db:
            kept = db.execute("SELECT COUNT(*) FROM nonces").fetchone()
        assert kept == ((i + 1 if i < 2 else 1),)


def test_a_proof_for_one_service_is_none_for_another(paid, tmp_path):
    # Two services with the same accounts that are paid with one proof; a proof that is
    # void when the service was closed in between.
    make, given = paid
    service = make(repeats="fresh")
    proof = solve(asks(service, "a", POOL[:2]).puzzle)
    with closing(opened(tmp_path / "b", defence=PRICED, puzzles=True)) as other:
        again = asks(other, "a", POOL[:2], proof=proof)
        assert "another call or service" in again.why
        assert again.puzzle.service != asks(service, "a", POOL[:2]).puzzle.service
    service.close()
    make(repeats="fresh").query("a", POOL[:2], proof=proof)
    assert given == [2]


@pytest.mark.parametrize("change", ["DELETE FROM service", "UPDATE service SET id = 1"])
def test_a_damaged_id_is_found(paid, tmp_path, change):
    # Proofs for an id that was changed, so that used ones count anew; a traceback.
    make, _ = paid
    service = make()
    with closing(sqlite3.connect(tmp_path / "a")) as db, db:
        db.execute(change)
    with pytest.raises(UserError, match="is damaged .the service's id is"):
        service.query("a", POOL[:1])


def test_expired_nonces_are_found_by_an_index(paid, tmp_path):
    # All used nonces of an hour read for each payment.
    make, _ = paid
    make()
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        plan = db.execute("EXPLAIN QUERY PLAN DELETE FROM nonces WHERE expiry <= x'01'")
        assert "USING COVERING INDEX expiries" in str(plan.fetchall())


def test_a_damaged_nonce_is_found(paid, tmp_path):
    # A flipped byte by which a proof counts for longer.
    make, _ = paid
    service = make(repeats="fresh")
    proof = solve(asks(service, "a", POOL[:1]).puzzle)
    service.query("a", POOL[:1], proof=proof)
    with closing(sqlite3.connect(tmp_path / "a")) as db, db:
        db.execute("UPDATE nonces SET expiry = x'01'")
    with pytest.raises(UserError, match="is damaged"):
        service.query("a", POOL[:1], proof=proof)


def test_the_price_is_that_of_now(paid):
    # A puzzle fetched while the account was cheap, solved when it is dear.
    make, given = paid
    rising = Defence(
        init=lambda dim, key: {"bits": np.array(4.0)},
        apply=lambda s, r: (r.raw, {"bits": s["bits"] + 8}, None, {}),
        demand=lambda state, n: float(state["bits"]),
    )
    service = make(rising)
    early = asks(service, "a", POOL[:1]).puzzle
    service.query("a", POOL[1:2], proof=solve(asks(service, "a", POOL[1:2]).puzzle))
    cheap = next(
        proof
        for proof in (solve(early, i << 20) for i in range(99))
        if not solved(early._replace(bits=12.0), proof.nonce)
    )
    dear = asks(service, "a", POOL[:1], proof=cheap)
    assert dear.puzzle.bits == 12 and "fewer hashes" in dear.why
    service.query("a", POOL[:1], proof=solve(dear.puzzle))
    assert given == [1, 1]


def test_without_puzzles_hashes_are_only_noted(paid, tmp_path):
    # A study that has to solve what it only bills.
    make, given = paid
    service = make(puzzles=False)
    service.query("a", POOL[:4], "1")
    service.close()
    noted = read_notes(tmp_path / "a", "a", ["1"])
    np.testing.assert_allclose(noted["hashes"], 2**BITS / 4)


def test_an_older_file_gets_its_table_once(tmp_path):
    # A file that was served without puzzles and cannot be any more, or loses answers.
    path = tmp_path / "old"
    answers, bills = written(path)
    for _ in range(2):
        service = opened(path, limit=40, defence=PRICED, puzzles=True)
        assert service.query("b", pictures(3, seed=9), "0").shape == (3, DIM)
        asks(service, "b", pictures(2, seed=77))
        service.close()
    assert opened(path, limit=40).counters("a") == bills["a"]


def test_the_error_is_whole_in_another_process():
    # An error that cannot cross to another process, or loses its puzzle there.
    error = PaymentRequired(Puzzle(b"s", "a", b"r", 5, 3.0), "the proof is expired")
    back = pickle.loads(pickle.dumps(error))
    assert (back.puzzle, back.why, str(back)) == (error.puzzle, error.why, str(error))
